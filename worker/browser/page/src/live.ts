// What happens while wa-js is up: new messages and acks.

import type { Acks } from './acks';
import type { Library } from './library';
import type { Outbox } from './outbox';
import { directory, isMessage, isWaiting, toMessage, type RawMessage } from './messages';
import { Recent } from './recent';
import type { SentIds } from './send';

/** Messages that were reported, so that none is reported twice. */
const REMEMBERED = 2000;

/** `heard` runs for whatever can only have come from the server. */
export function watchMessages(
  library: Library,
  outbox: Outbox,
  sent: SentIds,
  acks: Acks,
  heard: () => void,
): void {
  const ids = directory(library);
  const reported = new Recent<true>(REMEMBERED);
  const waiting = new Recent<true>(REMEMBERED);

  const report = (raw: RawMessage, elsewhere: 'phone' | null) => {
    try {
      // A ciphertext comes again under its real type once it could be read.
      if (isWaiting(raw)) {
        const message = toMessage(raw, ids, () => null);
        if (!waiting.has(message.key)) outbox.push({ type: 'waiting', message });
        waiting.set(message.key, true);
        return;
      }
      if (!isMessage(raw)) return;
      const message = toMessage(raw, ids, (id) => (sent.has(id) ? 'this_session' : elsewhere));
      if (reported.has(message.key)) return;
      reported.set(message.key, true);
      outbox.push({ type: 'message', message });
    } catch (error) {
      outbox.fault('message', error);
    }
  };
  library.on('chat.new_message', (model) => {
    heard();
    report(model as unknown as RawMessage, 'phone');
  });
  // What came between the load of the page and this moment raised its event before anybody could listen. It is marked as
  // new, whatever its time; what the page had before it was loaded is not.
  for (const model of library.whatsapp.MsgStore.getModelsArray()) {
    const raw = model as unknown as RawMessage & { isNewMsg?: unknown };
    if (raw.isNewMsg === true) report(raw, null);
  }

  const tell = (keys: unknown[], ack: unknown, sender: unknown) => {
    try {
      if (Number(ack) > 0) heard();
      const news = acks.news(keys, ack, sender);
      if (news !== null) outbox.push({ type: 'ack', ack: news });
    } catch (error) {
      outbox.fault('ack', error);
    }
  };
  // Receipts of the other side, as they come.
  library.on('chat.msg_ack_change', ({ ids: keys, ack, sender }) => tell(keys, ack, sender));
  // And the models, which also know of failures.
  library.whatsapp.MsgStore.on('change:ack', (model: { id: unknown; ack?: unknown }) => {
    tell([model.id], model.ack, null);
  });
}
