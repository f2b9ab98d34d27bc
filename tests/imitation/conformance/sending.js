// Stage `linked`: sending text.
'use strict';

const quiet = { linkPreview: false, markIsRead: false };
const textTo = (number, text, options) => WPP.chat.sendTextMessage(wid(number), text, { ...quiet, ...options });
const hexId = () =>
  `3EB0${Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(16).padStart(2, '0'))
    .join('')
    .toUpperCase()}`;
const ownKey = async (number, id = hexId()) => `true_${await lidOf(number)}_${id}`;
const bareId = (key) => String(key).split('_')[2];

linked('a text to a number goes out in the chat of its LID', [], async ({ equal, ensure, people, remember }) => {
  const lid = await lidOf(people.contact);
  const sent = await textTo(people.contact, 'hello');
  equal([sent.to, sent.ack, sent.sendMsgResult.messageSendResult], [lid, 1, 'OK'], 'chat, ack, result');
  ensure(new RegExp(`^true_${lid}_3EB0[0-9A-F]{18}$`).test(sent.id), `the id is ${sent.id}`);
  equal(sent.from, String(WPP.conn.getMyUserLid()), 'from');
  remember('first message', sent.id);
});

linked('an own send is announced like any message, and its ack 1 follows', [], async ({ events, equal, people }) => {
  const sent = await textTo(people.contact, 'announced');
  const { given } = await events.next('chat.new_message', (message) => String(message.id) === sent.id);
  equal([given[0].body, given[0].type, given[0].id.fromMe], ['announced', 'chat', true], 'body, type, fromMe');
  await events.next('chat.msg_ack_change', ({ ack, ids }) => ack === 1 && ids.map(String).includes(sent.id));
});

linked('delivered and read are announced by receipts', ['far end'], async ({ events, equal, farEnd, people }) => {
  const sent = await textTo(people.contact, 'please read this');
  const reached =
    (wanted) =>
    ({ ack, ids }) =>
      ack === wanted && ids.map(String).includes(sent.id);
  await events.next('chat.msg_ack_change', reached(2));
  await farEnd.read({ number: people.contact, id: bareId(sent.id) });
  const { given } = await events.next('chat.msg_ack_change', reached(3));
  equal(String(given[0].chat), sent.to, 'the chat of the receipt');
  equal((await WPP.chat.getMessageById(sent.id)).ack, 3, 'the ack of the message');
});

linked('who does not wait for the ack gets the key at once', [], async ({ equal, events, people }) => {
  const sent = await textTo(people.contact, 'no waiting', { waitForAck: false });
  equal([sent.ack, sent.sendMsgResult], [0, null], 'ack, result');
  await events.next('chat.msg_ack_change', ({ ack, ids }) => ack === 1 && ids.map(String).includes(sent.id));
});

linked('a caller can fix the id', [], async ({ equal, people, remember }) => {
  const messageId = await ownKey(people.contact);
  const sent = await textTo(people.contact, 'with my own id', { messageId });
  equal(sent.id, messageId, 'the id');
  equal((await WPP.chat.getMessageById(messageId)).body, 'with my own id', 'the message found by it');
  remember('fixed id', messageId);
});

linked('an id need not look native', [], async ({ equal, people }) => {
  const messageId = await ownKey(people.contact, `ABCDEF${hexId().slice(4)}`);
  equal((await textTo(people.contact, 'odd id', { messageId })).id, messageId, 'the id');
});

linked('a text to a number that is not on WhatsApp is not rejected', [], async ({ ensure, people }) => {
  const sent = await textTo(people.missing, 'anybody there?', { waitForAck: false });
  ensure(sent.id.startsWith('true_'), sent.id);
});

linked('the same id again is a DuplicateMessageError without a message', [], async ({ equal, people, refusal }) => {
  const messageId = await ownKey(people.contact);
  await textTo(people.contact, 'once', { messageId });
  const error = await refusal(textTo(people.contact, 'twice', { messageId }), 'sending an id twice');
  equal([error.name, error.message, error.code], ['DuplicateMessageError', '', undefined], 'name, message, code');
});

linked('a key of the number instead of the LID is refused', [], async ({ equal, people, refusal }) => {
  const messageId = `true_${wid(people.contact)}_${hexId()}`;
  const error = await refusal(textTo(people.contact, 'wrong chat', { messageId }), 'a key of another chat');
  equal(error.code, 'message_key_remote_id_is_not_same_of_chat', 'the code of the error');
});

linked('a key of somebody else is refused', [], async ({ equal, people, refusal }) => {
  const messageId = (await ownKey(people.contact)).replace('true_', 'false_');
  const error = await refusal(textTo(people.contact, 'not mine', { messageId }), 'a key that is not from me');
  equal(error.code, 'message_key_is_not_from_me', 'the code of the error');
});

linked('a bare id is refused', [], async ({ people, refusal }) => {
  await refusal(textTo(people.contact, 'bare', { messageId: hexId() }), 'an id without its chat');
});

linked('text arrives unchanged, whatever it holds', ['far end', 'control'], async ({ equal, farEnd, people }) => {
  const texts = [
    'Grüße 👩‍👩‍👧‍👦 שלום',
    'line\nline\r\n\ttab',
    '"quotes" \\ </script> ${x}',
    '\u0000\u202e',
    '𝔘𝔫𝔦'.repeat(800),
  ];
  for (const text of texts) {
    const sent = await textTo(people.contact, text);
    const { sent: left } = await farEnd.sent({ number: people.me });
    equal(left.find(({ id }) => id === bareId(sent.id)).text, text, 'the text that left');
    equal((await WPP.chat.getMessageById(sent.id)).body, text, 'the text that is kept');
  }
});

linked('twenty sends at once leave once each', ['far end', 'control'], async ({ equal, farEnd, people }) => {
  const sent = await Promise.all(Array.from({ length: 20 }, (_, number) => textTo(people.contact, `number ${number}`)));
  equal(new Set(sent.map(({ id }) => id)).size, 20, 'distinct ids');
  const { sent: left } = await farEnd.sent({ number: people.me });
  const counts = sent.map(({ id }) =>
    left.filter((departure) => departure.id === bareId(id)).map((departure) => departure.handed_in),
  );
  equal(counts, Array(20).fill([1]), 'departures per id');
});

linked(
  'a refused send is a result with ack -1, not an exception',
  ['far end', 'control'],
  async ({ equal, farEnd, people }) => {
    await farEnd.sends({ fault: 'refuse', count: 1 });
    const sent = await textTo(people.contact, 'refused');
    equal([sent.ack, sent.sendMsgResult.messageSendResult], [-1, 'ERROR_UNKNOWN'], 'ack, result');
    const { sent: left } = await farEnd.sent({ number: people.me });
    equal(left.filter(({ id }) => id === bareId(sent.id)).length, 0, 'departures');
  },
);

linked(
  'a slow server makes a send wait, nothing else',
  ['far end', 'control'],
  async ({ ensure, equal, farEnd, people }) => {
    await farEnd.sends({ fault: 'delay', count: 1, millis: 1_500 });
    const started = performance.now();
    const sent = await textTo(people.contact, 'slow');
    equal(sent.ack, 1, 'the ack');
    ensure(performance.now() - started >= 1_400, 'it did not wait');
  },
);

linked(
  'a message whose ack was cut off is acknowledged after the reconnection, and left once',
  ['far end', 'control'],
  async ({ equal, events, farEnd, people }) => {
    await farEnd.acks({ server_ms: 30 }); // nobody's phone is on: a receipt would make the repetition needless
    await farEnd.sends({ fault: 'cut_after', count: 1 });
    const sent = await textTo(people.contact, 'cut after');
    equal([sent.ack, sent.sendMsgResult.messageSendResult], [0, 'ERROR_UNKNOWN'], 'ack, result');
    await events.next('chat.msg_ack_change', ({ ack, ids }) => ack === 1 && ids.map(String).includes(sent.id));
    const [departure] = (await farEnd.sent({ number: people.me })).sent.filter(({ id }) => id === bareId(sent.id));
    equal(
      [departure.handed_in, departure.resent, departure.acknowledged],
      [2, 1, true],
      'handed in, resent, acknowledged',
    );
    await farEnd.heal();
  },
);

linked(
  'a message that was cut off on its way out goes out after the reconnection',
  ['far end', 'control'],
  async ({ equal, events, farEnd, people }) => {
    await farEnd.sends({ fault: 'cut_before', count: 1 });
    const sent = await textTo(people.contact, 'cut before');
    equal(sent.ack, 0, 'the ack');
    await events.next('chat.msg_ack_change', ({ ack, ids }) => ack === 1 && ids.map(String).includes(sent.id));
    const left = (await farEnd.sent({ number: people.me })).sent.filter(({ id }) => id === bareId(sent.id));
    equal(
      left.map(({ handed_in }) => handed_in),
      [1],
      'departures',
    );
  },
);

linked(
  'a restricted account cannot write to strangers and can go on talking',
  ['far end', 'control'],
  async ({ equal, farEnd, people, page, until }) => {
    const utils = page('WAWebReachoutTimelockUtils');
    await farEnd.restrict({ number: people.me, until: Math.floor(Date.now() / 1000) + 3600, notice: true });
    await until('the notice', () => utils.isUserReachoutTimelocked());
    const cold = await textTo(people.stranger, 'good day');
    equal([cold.ack, cold.sendMsgResult.messageSendResult], [-1, 'ERROR_UNKNOWN'], 'to a stranger');
    equal((await textTo(people.contact, 'still here')).ack, 1, 'to a contact');
    await farEnd.lift({ number: people.me });
    await until('the end of the notice', () => !utils.isUserReachoutTimelocked());
    equal((await textTo(people.stranger, 'good day again')).ack, 1, 'to a stranger afterwards');
  },
);

linked('typing shows at the other end', ['far end', 'control'], async ({ farEnd, people, until }) => {
  const lid = await lidOf(people.contact);
  await WPP.chat.markIsComposing(lid);
  await WPP.chat.markIsPaused(lid);
  await until('composing and then paused', async () => {
    const { typing } = await farEnd.typing();
    return (
      typing
        .slice(-2)
        .map(({ state }) => state)
        .join() === 'composing,paused'
    );
  });
});

linked('a delayed send types first', ['far end', 'control'], async ({ equal, farEnd, people }) => {
  const { typing: before } = await farEnd.typing();
  await textTo(people.contact, 'after some typing', { delay: 300 });
  const { typing } = await farEnd.typing();
  equal(
    typing.slice(before.length).map(({ state }) => state),
    ['composing', 'paused'],
    'the states',
  );
});
