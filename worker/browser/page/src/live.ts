// What happens while wa-js is up: new messages and acks.

import type { Acks } from './acks';
import type { Library } from './library';
import type { Outbox } from './outbox';
import { directory, isMessage, toMessage, type RawMessage } from './messages';
import { Recent } from './recent';
import type { SentIds } from './send';

/** Messages that were reported, so that none is reported twice. */
const REMEMBERED = 2000;

export function watchMessages(library: Library, outbox: Outbox, sent: SentIds, acks: Acks): void {
  const ids = directory(library);
  const reported = new Recent<true>(REMEMBERED);

  library.on('chat.new_message', (model) => {
    try {
      // A ciphertext comes again under its real type once it could be read.
      const raw = model as unknown as RawMessage;
      if (!isMessage(raw)) return;
      const message = toMessage(raw, ids, (id) => (sent.has(id) ? 'this_session' : 'phone'));
      if (reported.has(message.key)) return;
      reported.set(message.key, true);
      outbox.push({ type: 'message', message });
    } catch (error) {
      outbox.fault('message', error);
    }
  });

  const tell = (keys: unknown[], ack: unknown, sender: unknown) => {
    try {
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
