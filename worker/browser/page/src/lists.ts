// What the page knows, a bounded page at a time. A cursor names the last entry of a page, so what comes or goes meanwhile
// neither repeats nor hides another one.

import { Failure } from './errors';
import { seconds } from './groups';
import { user, userOrNull } from './ids';
import { labelsOf } from './labels';
import type { Library } from './library';
import { directory, isMessage, personOf, toMessage, type Directory, type RawMessage } from './messages';
import type { Message } from './protocol';
import type { ChatModel } from './store';

/** An answer travels as one message of the broker and is kept beside its command. */
const MAX_ANSWER_CHARACTERS = 256 * 1024;

/** Messages read from the database at once. */
const READ_AT_ONCE = 50;

interface Asked {
  limit: number;
  cursor: string | null;
}

/** The entries behind the cursor, in the order of their keys, at most `limit`, and never more than an answer may hold. */
export function page<T>(entries: [key: string, entry: T][], { limit, cursor }: Asked): { taken: T[]; cursor: string | null } {
  const behind = entries
    .filter(([key]) => cursor === null || key > cursor)
    .sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
  const count = fitting(behind.slice(0, limit).map(([, entry]) => entry));
  const last = behind[count - 1];
  return {
    taken: behind.slice(0, count).map(([, entry]) => entry),
    cursor: last !== undefined && behind.length > count ? last[0] : null,
  };
}

/** How many of these an answer holds; at least one, so that it goes on. */
function fitting(entries: unknown[]): number {
  let characters = 0;
  const over = entries.findIndex((entry) => (characters += JSON.stringify(entry).length) > MAX_ANSWER_CHARACTERS);
  return over === -1 ? entries.length : Math.max(1, over);
}

/** Keys that sort as the newest first. */
export function newestFirst(seconds: number, id: string): string {
  return `${String(Math.max(0, 99_999_999_999 - Math.trunc(seconds))).padStart(11, '0')} ${id}`;
}

/** Whether people or groups write there: no newsletters, no status. */
export function isConversation(chat: ChatModel): boolean {
  return /@(c\.us|lid|g\.us)$/.test(user(chat.id));
}

/** When something was written last, in Unix seconds; 0 where nothing was. */
export function writtenAt(chat: ChatModel): number {
  return typeof chat.t === 'number' ? chat.t : 0;
}

/** What is told of a chat. */
export function summaryOf(chat: ChatModel, ids: Directory): object {
  const id = user(chat.id);
  const seconds = writtenAt(chat);
  const person = personOf(id, ids);
  const isGroup = id.endsWith('@g.us');
  const mute = (chat as unknown as { mute?: { expiration?: unknown } }).mute;
  return {
    chat_id: id,
    name: text(chat.name) ?? text(chat.formattedTitle),
    phone: isGroup ? null : digits(person.phone),
    lid: isGroup ? null : person.lid,
    unread: typeof chat.unreadCount === 'number' ? chat.unreadCount : 0,
    timestamp: seconds > 0 ? new Date(seconds * 1000).toISOString() : null,
    archived: Boolean(chat.archive),
    pinned: Boolean(chat.pin),
    muted: Number(mute?.expiration ?? 0) !== 0,
    labels: labelsOf(chat),
  };
}

export function chats(library: Library, asked: Asked & { unread: boolean; archived: boolean | null }): unknown {
  const ids = directory(library);
  const entries = library.whatsapp.ChatStore.getModelsArray().flatMap((chat): [string, object][] => {
    if (!isConversation(chat)) return [];
    if (asked.unread && !chat.unreadCount) return [];
    if (asked.archived !== null && Boolean(chat.archive) !== asked.archived) return [];
    return [[newestFirst(writtenAt(chat), user(chat.id)), summaryOf(chat, ids)]];
  });
  const { taken, cursor } = page(entries, asked);
  return { chats: taken, cursor };
}

export async function history(
  library: Library,
  chat: ChatModel,
  { limit, cursor }: Asked,
): Promise<{ messages: Message[]; cursor: string | null }> {
  const ids = directory(library);
  let before = cursor;
  let raw: RawMessage[] = [];
  if (before === null) {
    // Without an anchor wa-js begins at the last message that was received, and own ones after it would be missing.
    const inMemory: RawMessage[] = chat.msgs.getModelsArray();
    const newest = inMemory.reduce<RawMessage | null>(
      (last, one) => (last === null || Number(one.t) >= Number(last.t) ? one : last),
      null,
    );
    if (newest === null) return { messages: [], cursor: null };
    raw = [newest];
    before = String(newest.id);
  }
  let isEnd = false;
  while (!isEnd && raw.filter(isMessage).length <= limit) {
    const older: RawMessage[] = await library.chat.getMessages(chat.id, {
      count: READ_AT_ONCE,
      id: before,
      direction: 'before',
    });
    raw = [...older, ...raw];
    const oldest = older[0];
    isEnd = older.length < READ_AT_ONCE || oldest === undefined || String(oldest.id) === before;
    if (oldest !== undefined) before = String(oldest.id);
  }
  const newestLast = raw.filter(isMessage).map((one) => toMessage(one, ids, () => null));
  const wanted = newestLast.slice(-limit).reverse();
  const messages = wanted.slice(0, fitting(wanted)).reverse();
  const oldest = messages[0];
  return { messages, cursor: oldest !== undefined && newestLast.length > messages.length ? oldest.key : null };
}

export function contacts(library: Library, asked: Asked): unknown {
  const ids = directory(library);
  const byId = new Map<string, object>();
  for (const contact of library.whatsapp.ContactStore.getModelsArray()) {
    const own = user(contact.id);
    // Only who is in the address book has a name of their own here.
    const name = text(contact.name);
    if (name === null || !/@(c\.us|lid)$/.test(own)) continue;
    const { phone, lid } = personOf(own, ids);
    // One person may be there twice, by number and by id.
    const id = lid ?? own;
    byId.set(id, { id, phone: digits(phone), lid, name, notify_name: text(contact.pushname) });
  }
  const { taken, cursor } = page([...byId.entries()], asked);
  return { contacts: taken, cursor };
}

export function groups(library: Library, asked: Asked): unknown {
  const entries = library.whatsapp.ChatStore.getModelsArray().flatMap((chat): [string, object][] =>
    chat.id.isGroup() && chat.groupMetadata ? [[String(chat.id), summary(chat)]] : [],
  );
  const { taken, cursor } = page(entries, asked);
  return { groups: taken, cursor };
}

export async function group(library: Library, chat: ChatModel): Promise<unknown> {
  if (!chat.id.isGroup()) throw new Failure('chat_not_found', 'not a group');
  // What is old is asked for anew.
  await library.whatsapp.GroupMetadataStore.find(chat.id);
  const ids = directory(library);
  const participants = chat.groupMetadata?.participants.getModelsArray() ?? [];
  const metadata = chat.groupMetadata as unknown as { desc?: unknown; ephemeralDuration?: unknown } | undefined;
  return {
    group: summary(chat),
    description: text(metadata?.desc),
    ephemeral: seconds(metadata?.ephemeralDuration),
    participants: participants.map((participant) => {
      const { id, phone, lid } = personOf(user(participant.id), ids);
      return { id, phone: digits(phone), lid, admin: participant.isAdmin === true || participant.isSuperAdmin === true };
    }),
  };
}

function summary(chat: ChatModel): object {
  const metadata = chat.groupMetadata as unknown as
    | { subject?: unknown; owner?: unknown; announce?: unknown; restrict?: unknown }
    | undefined;
  const participants = chat.groupMetadata?.participants;
  return {
    chat_id: String(chat.id),
    subject: text(metadata?.subject) ?? text(chat.name),
    owner: userOrNull(metadata?.owner),
    size: participants?.getModelsArray().length ?? 0,
    announce: metadata?.announce === true,
    restrict: metadata?.restrict === true,
    admin: participants?.iAmAdmin() === true,
  };
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function digits(phone: string | null): string | null {
  return phone === null ? null : (phone.split('@')[0] ?? null);
}
