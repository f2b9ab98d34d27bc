// Sending: store first, then hand over, then learn what became of it.
'use strict';

define('WAWebSendMsgChatAction', (exports) => {
  // Gives two promises, as the real action does: the stored message, and what became of the send.
  exports.addAndSendMsgToChat = (chat, values) => {
    const stored = use('PageOutbox').store(chat, values);
    const sent = stored.then(use('PageOutbox').transmit);
    sent.catch(() => {}); // whoever waits only for the first promise learns of its failure there
    return [stored, sent];
  };
});

define('PageOutbox', (exports) => {
  const storage = use('PageStorage');
  const messages = use('PageMessages');
  const inFlight = new Set();

  // An id that is in the message table already was sent before, perhaps by an earlier life of this page.
  exports.store = async (chat, values) => {
    const message = await messages.store(chat, { ...values, ack: 0 });
    if (message) return message;
    const error = new Error();
    error.name = 'DuplicateMessageError';
    throw error;
  };

  // Failures are results, not exceptions. A refused message has failed (ack −1). A message whose answer was lost with
  // the line stays where it is (ack 0) and goes out again by itself on the next connection.
  const handOver = async (message, resent) => {
    const id = String(message.id);
    if (inFlight.has(id)) return { messageSendResult: 'ERROR_UNKNOWN' };
    inFlight.add(id);
    try {
      const { t } = await use('PageSocket').request('send', {
        chat: String(message.id.remote),
        id: message.id.id,
        kind: message.type,
        body: message.body ?? '',
        content: messages.contentOf(message),
        resent,
      });
      message.set('t', t);
      message.updateAck(1);
      await messages.update(message);
      return { messageSendResult: 'OK', t, count: null };
    } catch (error) {
      if (error.code) {
        message.set('ack', -1);
        await messages.update(message);
      }
      return { messageSendResult: 'ERROR_UNKNOWN' };
    } finally {
      inFlight.delete(id);
    }
  };
  exports.transmit = (message) => handOver(message, false);

  // Hands in what is a message to the cloud alone, and nothing to be shown or repeated.
  exports.handIn = async (chat, kind, body, content, key) => {
    const id = key?.id ?? (await use('WAWebMsgKey').default.newId());
    try {
      await use('PageSocket').request('send', { chat: String(chat), id, kind, body, content, resent: false });
      return 'OK';
    } catch {
      return 'ERROR_UNKNOWN';
    }
  };

  // Hands over again what was never acknowledged.
  exports.sendPending = async () => {
    const { MsgCollection } = use('WAWebMsgCollection');
    for (const row of await storage.messagesWithAck(0)) {
      const chat = use('WAWebChatCollection').ChatCollection.get(row.chat);
      if (!chat || !row.id.startsWith('true_') || inFlight.has(row.id)) continue;
      await handOver(MsgCollection.get(row.id) ?? messages.show(chat, messages.fromRow(row)), true);
    }
  };
});

define('WAWebSendTextMsgChatAction', (exports) => {
  exports.sendTextMsgToChat = async (chat, body) => {
    const MsgKey = use('WAWebMsgKey').default;
    const from = use('WAWebUserPrefsMeUser').getMeLidUserOrThrow();
    const id = new MsgKey({ fromMe: true, remote: chat.id, id: await MsgKey.newId() });
    const values = { id, from, to: chat.id, type: 'chat', body, t: use('WATimeUtils').unixTime(), isNewMsg: true };
    await Promise.all(use('WAWebSendMsgChatAction').addAndSendMsgToChat(chat, values));
  };
});
