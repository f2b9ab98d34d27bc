// Own messages that WhatsApp's server does not acknowledge: the page shows a clock beside them, perhaps for ever.

import type { Library } from './library';
import { user } from './ids';
import type { Outbox } from './outbox';

/** Messages that are waited for at once; of more the oldest are forgotten. */
const MOST = 2000;

/** How often the clock is looked at, but for short times. */
const LOOK_EVERY_MS = 5_000;

interface Sent {
  id: { fromMe?: unknown; remote?: unknown };
  ack?: unknown;
  t?: unknown;
}

/** Tells of every own message once that has no ack after `afterMs`. */
export function watchStalled(library: Library, outbox: Outbox, afterMs: number): void {
  const store = library.whatsapp.MsgStore as unknown as {
    getModelsArray(): Sent[];
    on(name: string, listener: (model: Sent) => void): void;
  };
  const waiting = new Map<string, Sent>();
  const watch = (model: Sent) => {
    if (model.id.fromMe !== true || model.ack !== 0) return;
    waiting.set(String(model.id), model);
    const [oldest] = waiting.keys();
    if (waiting.size > MOST && oldest !== undefined) waiting.delete(oldest);
  };
  store.on('add', watch);
  store.getModelsArray().forEach(watch);
  setInterval(
    () => {
      for (const [key, { id, ack, t }] of waiting) {
        const at_ms = Number(t) * 1000;
        const isDue = Date.now() - at_ms >= afterMs;
        if (ack !== 0 || isDue) waiting.delete(key);
        if (ack === 0 && isDue) outbox.push({ type: 'stalled', key, chat_id: user(id.remote), at_ms });
      }
    },
    Math.min(LOOK_EVERY_MS, Math.max(100, afterMs / 4)),
  );
}
