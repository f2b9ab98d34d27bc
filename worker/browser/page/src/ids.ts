// Ids as strings. Models are never serialized: the text form of a key that was made before wa-js
// touched its class lies in a field of another name, but String(id) is right on all of them.

/** `…@c.us` and `…@lid` without the device part (`:12`) that some fields carry. */
export function user(id: unknown): string {
  return String(id).replace(/:\d+@/, '@');
}

/** `user`, or null for what is not there. */
export function userOrNull(id: unknown): string | null {
  return id === undefined || id === null || id === '' ? null : user(id);
}

export interface Key {
  fromMe: boolean;
  chat: string;
  id: string;
  participant: string | null;
}

/** The parts of `true|false_<chat>_<id>[_<participant>]`. */
export function parseKey(key: string): Key | null {
  const [direction, chat, id, participant, ...rest] = key.split('_');
  if ((direction !== 'true' && direction !== 'false') || !chat || !id || rest.length > 0) return null;
  return { fromMe: direction === 'true', chat, id, participant: participant ?? null };
}

/** An own message's key; in a group the sender belongs to it. */
export function ownKey(chat: string, id: string, participant: string | null): string {
  return participant === null ? `true_${chat}_${id}` : `true_${chat}_${id}_${participant}`;
}

/** The chat in which WhatsApp keeps stories. */
export const STORIES = 'status@broadcast';

/** What a caller may name as a recipient, in WhatsApp's form: digits become `…@c.us`. */
export function recipient(to: string): string | null {
  if (/^\+?\d{5,20}$/.test(to)) return `${to.replace('+', '')}@c.us`;
  return /^[\w.-]+@(c\.us|lid|g\.us)$/.test(to) ? to : null;
}
