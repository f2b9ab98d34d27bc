// Messages that the page has, in memory or in its database.

import type * as WPP from '@wppconnect/wa-js';
import { Failure, describe } from './errors';
import { STORIES, ownKey, parseKey, user } from './ids';
import type { Library } from './library';
import { isStories, ownStory } from './stories';

export type ChatModel = WPP.whatsapp.ChatModel;
export type MsgModel = WPP.whatsapp.MsgModel;

/** The key of an own message in this chat. Groups that still use phone numbers name the sender by it. */
export function keyIn({ whatsapp }: Library, chat: ChatModel, id: string): string {
  if (isStories(chat)) return ownKey(STORIES, id, user(whatsapp.UserPrefs.getMaybeMePnUser()));
  if (!chat.id.isGroup()) return ownKey(String(chat.id), id, null);
  const me = whatsapp.UserPrefs.getMaybeMeLidUser() ?? whatsapp.UserPrefs.getMaybeMePnUser();
  return ownKey(String(chat.id), id, user(me));
}

/** The message under this key, from memory or from the page's database; null when neither has it. */
export async function lookUp(library: Library, key: string): Promise<MsgModel | null> {
  const inMemory = library.whatsapp.MsgStore.get(key);
  if (inMemory) return inMemory;
  if (parseKey(key)?.chat === STORIES) return ownStory(library, key);
  try {
    return await library.chat.getMessageById(key);
  } catch (error) {
    const { code } = describe(error);
    if (code === 'msg_not_found' || code === 'chat_not_found') return null;
    // Not knowing is not the same as not having: sending now might send twice.
    throw new Failure('lookup_failed', `cannot look the message up: ${describe(error).message}`);
  }
}

/** The keys that a message may have: chats move from phone numbers to ids without one, and events are older than that. */
function keysOf({ whatsapp }: Library, key: string): string[] {
  const parts = parseKey(key);
  if (parts === null) throw new Failure('invalid_message_key', 'not the key of a message');
  const other = (id: string): string | null => {
    try {
      const wid = whatsapp.WidFactory.createWid(id);
      const known = id.endsWith('@lid') ? whatsapp.lidPnCache.getPhoneNumber(wid) : whatsapp.lidPnCache.getCurrentLid(wid);
      return known ? String(known) : null;
    } catch {
      return null;
    }
  };
  if (parts.chat.endsWith('@g.us')) {
    const participant = parts.participant === null ? null : other(parts.participant);
    return participant === null ? [key] : [key, `${parts.fromMe}_${parts.chat}_${parts.id}_${participant}`];
  }
  const chat = other(parts.chat);
  return chat === null ? [key] : [key, `${parts.fromMe}_${chat}_${parts.id}`];
}

/** The message that a caller names by its key. */
export async function messageBy(library: Library, key: string): Promise<MsgModel> {
  for (const candidate of keysOf(library, key)) {
    const message = await lookUp(library, candidate);
    if (message !== null) return message;
  }
  throw new Failure('message_not_found', 'this account has no message with this key');
}
