// WhatsApp's message models as plain messages.

import type { Library } from './library';
import type { Message } from './protocol';
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
  directPath?: unknown;
  mediaKey?: unknown;
  size?: unknown;
}

/** What the worker of the message must be told about ids. */
export interface Directory {
  /** The `…@c.us` of a `…@lid`. */
  phoneOf(lid: string): string | null;
  /** The `…@lid` of a `…@c.us`. */
  lidOf(phone: string): string | null;
  /** The own account, `…@lid` if it has one. */
  me(): string | null;
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

export function isMessage(raw: RawMessage): boolean {
  if (typeof raw.type !== 'string' || NOT_A_MESSAGE.has(raw.type)) return false;
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
  };
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
  };
}
