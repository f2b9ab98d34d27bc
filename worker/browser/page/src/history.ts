// What the page's store holds from a moment on: the messages that came in while nobody listened.

import type { Library } from './library';
import { directory, isMessage, toMessage, type RawMessage } from './messages';
import type { Outbox } from './outbox';
import type { Message } from './protocol';
import type { SentIds } from './send';

/** Messages read from the database at once, per chat. */
const PAGE = 50;

type Chat = ReturnType<Library['whatsapp']['ChatStore']['getModelsArray']>[number];

/**
 * A place in the order of messages: by WhatsApp's clock, whose second many messages may share, and within a second by
 * key. What comes after it is asked for.
 */
export interface Cursor {
  since: number;
  /** The key of the last message that the caller has of that second; null: none. */
  after: string | null;
}

/** Whether a message comes after the cursor. */
export function isBehind(cursor: Cursor, message: { timestamp: number; key: string }): boolean {
  if (message.timestamp !== cursor.since) return message.timestamp > cursor.since;
  return cursor.after === null || message.key > cursor.after;
}

/** All messages of `chat` that are not older than `since`, in any order, some of them twice. */
async function ofChat(library: Library, chat: Chat, since: number): Promise<RawMessage[]> {
  const isFresh = (raw: RawMessage) => typeof raw.t === 'number' && raw.t >= since;
  // Without an anchor wa-js begins at the last message that was received, and own ones after it
  // would be missing; so what is in memory comes first, and the database from its newest on.
  const inMemory: RawMessage[] = chat.msgs.getModelsArray();
  const newest = inMemory.reduce<RawMessage | undefined>(
    (last, raw) => (last === undefined || Number(raw.t) >= Number(last.t) ? raw : last),
    undefined,
  );
  const found = inMemory.filter(isFresh);
  const seen = new Set<string>();
  let before = newest === undefined ? undefined : String(newest.id);
  for (;;) {
    const options = before === undefined ? { count: PAGE } : { count: PAGE, id: before, direction: 'before' as const };
    const page: RawMessage[] = await library.chat.getMessages(chat.id, options);
    const fresh = page.filter(isFresh);
    found.push(...fresh);
    const oldest = page[0];
    // A late message may lie among older ones, so only a page without any that is fresh is the end.
    if (page.length < PAGE || fresh.length === 0 || oldest === undefined) return found;
    before = String(oldest.id);
    if (seen.has(before)) return found;
    seen.add(before);
  }
}

export class History {
  /** What was read and not asked for yet, and the cursor with which it will be. */
  #rest: { cursor: Cursor; messages: Message[] } | null = null;

  constructor(
    readonly sent: SentIds,
    readonly outbox: Outbox,
  ) {}

  /** What comes after the cursor, oldest first, at most `limit`. A chat that cannot be read is reported and left out. */
  async behind(library: Library, cursor: Cursor, limit: number): Promise<Message[]> {
    const rest = this.#rest;
    const goesOn = rest !== null && rest.cursor.since === cursor.since && rest.cursor.after === cursor.after;
    const messages = goesOn ? rest.messages : await this.#read(library, cursor);
    const page = messages.slice(0, limit);
    const last = page.at(-1);
    const more = last !== undefined && messages.length > limit;
    this.#rest = more
      ? { cursor: { since: last.timestamp, after: last.key }, messages: messages.slice(limit) }
      : null;
    return page;
  }

  async #read(library: Library, cursor: Cursor): Promise<Message[]> {
    const ids = directory(library);
    const byKey = new Map<string, Message>();
    for (const chat of library.whatsapp.ChatStore.getModelsArray()) {
      if (typeof chat.t === 'number' && chat.t < cursor.since) continue;
      if (!/@(c\.us|lid|g\.us)$/.test(String(chat.id))) continue;
      try {
        for (const raw of await ofChat(library, chat, cursor.since)) {
          if (!isMessage(raw)) continue;
          const message = toMessage(raw, ids, (id) => (this.sent.has(id) ? 'this_session' : null));
          if (isBehind(cursor, message)) byKey.set(message.key, message);
        }
      } catch (error) {
        this.outbox.fault('history', error);
      }
    }
    const order = (a: Message, b: Message) => a.timestamp - b.timestamp || (a.key < b.key ? -1 : 1);
    return [...byKey.values()].sort(order);
  }
}
