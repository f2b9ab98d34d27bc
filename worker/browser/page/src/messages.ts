// WhatsApp's message models as plain messages.

import type { Library } from './library';
import type { Location, Media, Message, Person, Quoted } from './protocol';
import { parseKey, user, userOrNull } from './ids';

/** Entries of a chat that nobody wrote: notices, deletions, keys that could not be read yet. */
const NOT_A_MESSAGE = new Set([
  'broadcast_notification',
  'call_log',
  'ciphertext',
  'debug',
  'e2e_notification',
  'gp2',
  'group_notification',
  'keep_in_chat',
  'newsletter_notification',
  'notification',
  'notification_template',
  'oversized',
  'pin_message',
  'poll_update',
  'protocol',
  'reaction',
  'revoked',
  'unknown',
]);

/** Messages that carry a file. */
const WITH_FILE = new Set(['audio', 'document', 'image', 'ptt', 'ptv', 'sticker', 'video']);

/** What is read of a message, be it a model or a record of the database. */
export interface RawMessage {
  id?: unknown;
  type?: unknown;
  body?: unknown;
  caption?: unknown;
  t?: unknown;
  ack?: unknown;
  from?: unknown;
  to?: unknown;
  author?: unknown;
  notifyName?: unknown;
  quotedStanzaID?: unknown;
  quotedParticipant?: unknown;
  quotedMsg?: unknown;
  mentionedJidList?: unknown;
  isForwarded?: unknown;
  forwardingScore?: unknown;
  directPath?: unknown;
  mediaKey?: unknown;
  mimetype?: unknown;
  size?: unknown;
  filename?: unknown;
  duration?: unknown;
  width?: unknown;
  height?: unknown;
  lat?: unknown;
  lng?: unknown;
  loc?: unknown;
  clientUrl?: unknown;
  vcardFormattedName?: unknown;
  vcardList?: unknown;
  pollName?: unknown;
  pollOptions?: unknown;
  pollSelectableOptionsCount?: unknown;
}

/** What the worker of the message must be told about ids. */
export interface Directory {
  /** The `…@c.us` of a `…@lid`. */
  phoneOf(lid: string): string | null;
  /** The `…@lid` of a `…@c.us`. */
  lidOf(phone: string): string | null;
  /** The own account, `…@lid` if it has one. */
  me(): string | null;
  /** Whether it is the own account, by whichever id. */
  isMe(id: string): boolean;
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

export function isMessage(raw: RawMessage): boolean {
  return typeof raw.type === 'string' && !NOT_A_MESSAGE.has(raw.type) && isInChat(raw);
}

/** Whether somebody wrote something here that cannot be read yet. */
export function isWaiting(raw: RawMessage): boolean {
  return raw.type === 'ciphertext' && isInChat(raw);
}

function isInChat(raw: RawMessage): boolean {
  const chat = parseKey(String(raw.id))?.chat ?? '';
  return /@(c\.us|lid|g\.us)$/.test(chat);
}

/** Throws when the model lacks what makes a message. */
export function toMessage(
  raw: RawMessage,
  directory: Directory,
  source: (id: string) => Message['source'],
): Message {
  const key = parseKey(String(raw.id));
  if (key === null) throw new Error('a message has an unknown form of key');
  if (typeof raw.type !== 'string') throw new Error('a message has no type');
  if (typeof raw.t !== 'number') throw new Error('a message has no time');
  const chat = user(key.chat);
  const sender = key.fromMe
    ? (directory.me() ?? userOrNull(raw.from) ?? chat)
    : (userOrNull(key.participant) ?? userOrNull(raw.author) ?? userOrNull(raw.from) ?? chat);
  return {
    key: String(raw.id),
    id: key.id,
    chat_id: chat,
    from_me: key.fromMe,
    sender_id: sender,
    sender_phone: sender.endsWith('@c.us') ? sender : directory.phoneOf(sender),
    sender_lid: sender.endsWith('@lid') ? sender : directory.lidOf(sender),
    kind: raw.type,
    // The body of a medium is its thumbnail, not a text.
    text: raw.type === 'chat' ? text(raw.body) : text(raw.caption),
    timestamp: raw.t,
    ack: typeof raw.ack === 'number' ? raw.ack : 0,
    // An own message is shown before its file has a place on WhatsApp's servers.
    has_media: (key.fromMe && WITH_FILE.has(raw.type)) || Boolean(raw.directPath ?? raw.mediaKey),
    media_size: typeof raw.size === 'number' ? raw.size : null,
    quoted_id: text(raw.quotedStanzaID),
    notify_name: text(raw.notifyName),
    source: key.fromMe ? source(key.id) : null,
    ...contentOf(raw),
  };
}

/** Somebody, by all ids that are known. */
export function personOf(id: string, directory: Directory): Person {
  return {
    id,
    phone: id.endsWith('@c.us') ? id : directory.phoneOf(id),
    lid: id.endsWith('@lid') ? id : directory.lidOf(id),
  };
}

type Held = Pick<Message, 'location' | 'contacts' | 'poll' | 'media' | 'mentions' | 'forwarded' | 'quoted'>;

/** What a message holds besides its text. */
function contentOf(raw: RawMessage): Held {
  const mentions = Array.isArray(raw.mentionedJidList) ? raw.mentionedJidList.map(user) : [];
  const score = number(raw.forwardingScore) ?? 0;
  const hasFile = Boolean(raw.directPath ?? raw.mediaKey);
  return {
    location: raw.type === 'location' || raw.type === 'live_location' ? locationOf(raw) : null,
    contacts: cardsOf(raw),
    poll: raw.type === 'poll_creation' ? pollOf(raw) : null,
    media: hasFile ? mediaOf(raw) : null,
    mentions,
    forwarded: raw.isForwarded === true || score > 0 ? Math.max(1, Math.trunc(score)) : null,
    quoted: quotedOf(raw),
  };
}

function locationOf(raw: RawMessage): Location | null {
  const [latitude, longitude] = [number(raw.lat), number(raw.lng)];
  if (latitude === null || longitude === null) return null;
  // WhatsApp keeps name and address as two lines of one text.
  const [name, ...address] = (text(raw.loc) ?? '').split('\n');
  return { latitude, longitude, name: text(name), address: text(address.join('\n')), url: text(raw.clientUrl) };
}

function cardsOf(raw: RawMessage): Message['contacts'] {
  if (raw.type === 'vcard') {
    const vcard = text(raw.body);
    return vcard === null ? [] : [{ name: text(raw.vcardFormattedName), vcard }];
  }
  if (raw.type !== 'multi_vcard' || !Array.isArray(raw.vcardList)) return [];
  return (raw.vcardList as { displayName?: unknown; vcard?: unknown }[]).flatMap(({ displayName, vcard }) =>
    typeof vcard === 'string' ? [{ name: text(displayName), vcard }] : [],
  );
}

function pollOf(raw: RawMessage): Message['poll'] {
  const options = Array.isArray(raw.pollOptions) ? (raw.pollOptions as { name?: unknown }[]) : [];
  return {
    question: text(raw.pollName) ?? '',
    options: options.map(({ name }) => String(name ?? '')),
    multiple: raw.pollSelectableOptionsCount !== 1,
  };
}

function mediaOf(raw: RawMessage): Media {
  return {
    mimetype: text(raw.mimetype),
    size: number(raw.size),
    filename: text(raw.filename),
    seconds: number(raw.duration),
    width: number(raw.width),
    height: number(raw.height),
  };
}

function quotedOf(raw: RawMessage): Quoted | null {
  const id = text(raw.quotedStanzaID);
  if (id === null) return null;
  const message = (raw.quotedMsg ?? {}) as RawMessage;
  return {
    id,
    sender_id: userOrNull(raw.quotedParticipant),
    kind: text(message.type),
    text: message.type === 'chat' ? text(message.body) : text(message.caption),
  };
}

/** Some numbers are kept as text. */
function number(value: unknown): number | null {
  const parsed = typeof value === 'string' && value !== '' ? Number(value) : value;
  return typeof parsed === 'number' && Number.isFinite(parsed) ? parsed : null;
}

/** Ids as the page knows them. */
export function directory({ whatsapp }: Library): Directory {
  const look = (read: () => unknown): string | null => {
    try {
      return userOrNull(read());
    } catch {
      return null; // Not in the page's cache.
    }
  };
  const wid = (id: string) => whatsapp.WidFactory.createWid(id);
  return {
    phoneOf: (lid) => look(() => whatsapp.lidPnCache.getPhoneNumber(wid(lid))),
    lidOf: (phone) => look(() => whatsapp.lidPnCache.getCurrentLid(wid(phone))),
    me: () =>
      look(() => whatsapp.UserPrefs.getMaybeMeLidUser()) ?? look(() => whatsapp.UserPrefs.getMaybeMePnUser()),
    isMe: (id) =>
      id === look(() => whatsapp.UserPrefs.getMaybeMeLidUser()) || id === look(() => whatsapp.UserPrefs.getMaybeMePnUser()),
  };
}
