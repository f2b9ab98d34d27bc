// How far own messages have come. Several sources tell the same: the models, and the receipts of
// the other side; what has been said is not said again, and nothing goes back.

import type { Ack } from './protocol';
import { Recent } from './recent';
import { parseKey, user, userOrNull } from './ids';

/** Messages whose last ack is remembered. A message's acks come within days, most within seconds. */
const REMEMBERED = 5000;

export class Acks {
  #last = new Recent<number>(REMEMBERED);

  /** What of it is news; null if nothing is. In a group each participant's acks rise by themselves. */
  news(keys: unknown[], ack: unknown, sender: unknown): Ack | null {
    if (typeof ack !== 'number' || !Number.isInteger(ack) || ack === 0) return null;
    const from = userOrNull(sender);
    const fresh = keys.map(String).filter((key) => {
      const parts = parseKey(key);
      if (parts === null || !parts.fromMe) return false;
      const slot = from === null ? key : `${key} ${from}`;
      const last = this.#last.get(slot);
      // A failure is news once and leaves the way open: the message may still be sent.
      if (ack < 0 ? last !== undefined : ack <= (last ?? 0)) return false;
      this.#last.set(slot, ack);
      return true;
    });
    const first = fresh[0];
    const chat = first === undefined ? undefined : parseKey(first)?.chat;
    if (chat === undefined) return null;
    return { keys: fresh, chat_id: user(chat), sender_id: from, ack };
  }
}
