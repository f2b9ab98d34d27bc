// What of the past a sync takes: first which chats, in their order, then the chats by their names. The order is asked for
// once, because it changes with every message.

import { user } from './ids';
import type { Library } from './library';
import { isConversation, newestFirst, summaryOf, writtenAt } from './lists';
import { directory } from './messages';
import type { ChatModel } from './store';

/** The ids of the chats: those with something unread first, then the one with the newest message. */
export function plan(
  library: Library,
  { chats, since }: { chats: number | null; since: number | null },
): { chats: string[] } {
  const wanted = library.whatsapp.ChatStore.getModelsArray().filter(
    (chat) => isConversation(chat) && (since === null || writtenAt(chat) >= since),
  );
  const ids = wanted
    .map((chat) => [placeOf(chat), user(chat.id)] as const)
    .sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0))
    .map(([, id]) => id);
  return { chats: chats === null ? ids : ids.slice(0, chats) };
}

/** These chats as they are now, without those that are gone. */
export function chatsOf(library: Library, { chats }: { chats: string[] }): { chats: object[] } {
  const ids = directory(library);
  const known = new Map(library.whatsapp.ChatStore.getModelsArray().map((chat) => [user(chat.id), chat] as const));
  return {
    chats: chats.flatMap((id) => {
      const chat = known.get(id);
      return chat === undefined ? [] : [summaryOf(chat, ids)];
    }),
  };
}

function placeOf(chat: ChatModel): string {
  return `${chat.unreadCount ? 0 : 1} ${newestFirst(writtenAt(chat), user(chat.id))}`;
}
