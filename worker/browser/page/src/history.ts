// What the page's store holds from a moment on: the messages that came in while nobody listened.

import type { Library } from './library';
import { directory, isMessage, toMessage, type RawMessage } from './messages';
import type { Outbox } from './outbox';
import type { Message } from './protocol';
import type { SentIds } from './send';

/** Messages read from the database at once, per chat. */
const PAGE = 50;

type Chat = ReturnType<Library['whatsapp']['ChatStore']['getModelsArray']>[number];

/** All messages of `chat` that are not older than `since`, in any order, some of them twice. */
async function ofChat(library: Library, chat: Chat, since: number, limit: number): Promise<RawMessage[]> {
  const isFresh = (raw: RawMessage) => typeof raw.t === 'number' && raw.t >= since;
  // Without an anchor wa-js begins at the last message that was received, and own ones after it
  // would be missing; so what is in memory comes first, and the database from its newest on.
  const inMemory: RawMessage[] = chat.msgs.getModelsArray();
  const newest = inMemory.reduce<RawMessage | undefined>(
    (last, raw) => (last === undefined || Number(raw.t) >= Number(last.t) ? raw : last),
    undefined,
  );
  const found = inMemory.filter(isFresh);
  let before = newest === undefined ? undefined : String(newest.id);
  while (found.length < inMemory.length + limit) {
    const options = before === undefined ? { count: PAGE } : { count: PAGE, id: before, direction: 'before' as const };
    const page: RawMessage[] = await library.chat.getMessages(chat.id, options);
    const fresh = page.filter(isFresh);
    found.push(...fresh);
    const oldest = page[0];
    if (page.length < PAGE || fresh.length < page.length || oldest === undefined) break;
    const next = String(oldest.id);
    if (next === before) break;
    before = next;
  }
  return found;
}

/** Oldest first, at most `limit`. A chat that cannot be read is reported and left out. */
export async function messagesSince(
  library: Library,
  since: number,
  limit: number,
  sent: SentIds,
  outbox: Outbox,
): Promise<Message[]> {
  const ids = directory(library);
  const byKey = new Map<string, Message>();
  for (const chat of library.whatsapp.ChatStore.getModelsArray()) {
    if (typeof chat.t === 'number' && chat.t < since) continue;
    if (!/@(c\.us|lid|g\.us)$/.test(String(chat.id))) continue;
    try {
      for (const raw of await ofChat(library, chat, since, limit)) {
        if (!isMessage(raw)) continue;
        const message = toMessage(raw, ids, (id) => (sent.has(id) ? 'this_session' : null));
        byKey.set(message.key, message);
      }
    } catch (error) {
      outbox.fault('history', error);
    }
  }
  return [...byKey.values()].sort((a, b) => a.timestamp - b.timestamp).slice(0, limit);
}
