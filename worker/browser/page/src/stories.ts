// Stories. To WhatsApp they are messages to a chat of their own, kept beside the other chats.

import type { Prepared } from './content';
import { STORIES, user } from './ids';
import type { Library } from './library';
import type { ChatModel, MsgModel } from './store';

/** Whether this is where one's stories go. */
export function isStories(chat: ChatModel): boolean {
  return user(chat.id) === STORIES;
}

/** A text as a story. The library makes of the colour what WhatsApp wants, and shows the story in the page, too. */
export function story(library: Library, { text, background }: { text: string; background: string | null }): Prepared {
  const colour = background === null ? {} : { backgroundColor: background };
  return (fixed) => library.status.sendTextStatus(text, { ...fixed, ...colour });
}

/** A story of one's own that the page still shows. What is older than a day is gone. */
export function ownStory({ whatsapp }: Library, key: string): MsgModel | null {
  // Undefined until there is one, whatever the declaration says.
  const mine = whatsapp.StatusV3Store.getMyStatus() as unknown as { msgs: { get(id: string): MsgModel | undefined } } | undefined;
  return mine?.msgs.get(key) ?? null;
}
