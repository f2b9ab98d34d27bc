// From what a caller names to the chat that WhatsApp uses for it. Accounts are moving from phone
// numbers (`…@c.us`) to ids without a number (`…@lid`); a message's key holds the chat's real id.

import type * as WPP from '@wppconnect/wa-js';
import { Failure } from './errors';
import { STORIES, recipient } from './ids';
import type { Library } from './library';

type ChatModel = WPP.whatsapp.ChatModel;
type Wid = WPP.whatsapp.Wid;

function wid({ whatsapp }: Library, to: string): Wid {
  const id = to === STORIES ? to : recipient(to);
  if (id === null) throw new Failure('invalid_recipient', 'neither a phone number nor an id of a person or a group');
  return whatsapp.WidFactory.createWid(id);
}

/** The ids that the chat may have, the real one first, as far as the page knows them. */
function candidates({ whatsapp }: Library, id: Wid): Wid[] {
  const lid = id.server === 'c.us' ? whatsapp.lidPnCache.getCurrentLid(id) : undefined;
  return lid === undefined || lid === null ? [id] : [lid, id];
}

/** A chat that the page has already. */
export function knownChat(library: Library, to: string): ChatModel | undefined {
  for (const id of candidates(library, wid(library, to))) {
    const chat = library.whatsapp.ChatStore.get(id);
    if (chat) return chat;
  }
  return undefined;
}

/**
 * Asks the server whether a number has WhatsApp. It learns the number's `…@lid` on the way.
 *
 * WhatsApp's own function is asked and not wa-js', which takes every failure for a no.
 */
async function exists({ whatsapp }: Library, id: Wid): Promise<boolean> {
  return (await whatsapp.functions.queryWidExists(id)) !== null;
}

/** The chat to send to; made if there is none, but never for a number that does not exist. */
export async function chatFor(library: Library, to: string): Promise<ChatModel> {
  const known = knownChat(library, to);
  if (known !== undefined) return known;
  const id = wid(library, to);
  if (id.server === 'c.us' && !(await exists(library, id))) {
    throw new Failure('no_such_number', 'this number has no WhatsApp');
  }
  if (id.server === 'g.us') throw new Failure('chat_not_found', 'this account is not in the group');
  return library.chat.find(id);
}

/** As `chatFor`, but without making one: undefined when there has never been a chat. */
export async function existingChat(library: Library, to: string): Promise<ChatModel | undefined> {
  const known = knownChat(library, to);
  if (known !== undefined) return known;
  const id = wid(library, to);
  if (to === STORIES) return library.chat.find(id);
  // The number's `…@lid` may not be in the cache yet; asking puts it there.
  if (id.server !== 'c.us' || !(await exists(library, id))) return undefined;
  return knownChat(library, to);
}
