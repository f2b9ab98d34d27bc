// Stage `linked`: receiving, chats and groups.
'use strict';

const receiveFrom = async ({ farEnd, people, events }, text, from = people.contact) => {
  await farEnd.receive({ number: people.me, from, name: 'Conny', text });
  const { given } = await events.next('chat.new_message', (message) => message.body === text);
  return given[0];
};

linked('a message from a contact arrives in the chat of its LID', ['far end'], async (context) => {
  const { equal, people, remember } = context;
  const message = await receiveFrom(context, 'hi there');
  const lid = await lidOf(people.contact);
  equal([message.id.fromMe, String(message.id.remote), String(message.from)], [false, lid, lid], 'fromMe, chat, from');
  equal([String(message.to), message.type], [String(WPP.conn.getMyUserLid()), 'chat'], 'to, type');
  equal(String(message.id), `false_${lid}_${message.id.id}`, 'the key');
  remember('received message', String(message.id));
});

linked('the sender is named', ['far end', 'control'], async (context) => {
  const message = await receiveFrom(context, 'it is me');
  context.equal(message.notifyName, 'Conny', 'the notify name');
  context.equal(
    (await WPP.contact.get(await lidOf(context.people.contact))).pushname,
    'Conny',
    "the contact's push name",
  );
});

linked('unread messages are counted and can be marked as read', ['far end'], async (context) => {
  const { equal, people, until } = context;
  const lid = await lidOf(people.contact);
  await WPP.chat.markIsRead(lid);
  equal(WPP.chat.get(lid).unreadCount, 0, 'unread at first');
  await receiveFrom(context, 'one more');
  await until('the count', () => WPP.chat.get(lid).unreadCount === 1);
  equal((await WPP.chat.markIsRead(lid)).unreadCount, 1, 'what was marked');
  equal([WPP.chat.get(lid).unreadCount, WPP.chat.get(lid).hasUnread], [0, false], 'unread afterwards');
});

linked('odd text is received unchanged', ['far end', 'control'], async (context) => {
  for (const text of ['Grüße 👩‍👩‍👧‍👦', 'a\nb', '"\\</script>', 'x'.repeat(60_000)]) await receiveFrom(context, text);
});

linked(
  'a message typed on the phone arrives as an own message',
  ['far end'],
  async ({ events, equal, farEnd, people }) => {
    await farEnd.type({ number: people.me, to: people.contact, text: 'from the phone' });
    const { given } = await events.next('chat.new_message', (message) => message.body === 'from the phone');
    equal([given[0].id.fromMe, String(given[0].id.remote)], [true, await lidOf(people.contact)], 'fromMe, chat');
    equal(given[0].ack >= 1, true, 'it is on the server');
  },
);

linked('chats cannot be found by number', ['far end'], async ({ equal, people, refusal }) => {
  const number = wid(people.contact);
  equal(WPP.chat.get(number), undefined, 'chat.get');
  for (const [name, call] of Object.entries({
    getMessages: () => WPP.chat.getMessages(number),
    getMessageById: () => WPP.chat.getMessageById(`true_${number}_3EB000`),
    markIsRead: () => WPP.chat.markIsRead(number),
    markIsComposing: () => WPP.chat.markIsComposing(number),
  })) {
    const error = await refusal(call(), name);
    equal([name, error.code, error.name], [name, 'chat_not_found', 'Error'], 'the error');
  }
});

linked('an unknown message is not found', [], async ({ equal, people, refusal }) => {
  const error = await refusal(WPP.chat.getMessageById(await ownKey(people.contact)), 'looking for nothing');
  equal([error.code, error.name], ['msg_not_found', 'Error'], 'the error');
});

linked('find makes a chat of a number, once', [], async ({ equal, people }) => {
  const chat = await WPP.chat.find(wid(people.friend));
  equal(String(chat.id), await lidOf(people.friend), 'its id');
  equal((await WPP.chat.find(chat.id)) === chat, true, 'the same chat again');
});

linked('messages of a chat come in order', ['far end'], async (context) => {
  const { equal, people } = context;
  const lid = await lidOf(people.contact);
  await textTo(people.contact, 'order 1');
  await receiveFrom(context, 'order 2');
  await textTo(people.contact, 'order 3');
  const bodies = (await WPP.chat.getMessages(lid, { count: 3 })).map(({ body }) => body);
  equal(bodies, ['order 1', 'order 2', 'order 3'], 'the last three');
});

linked('messages can be read page by page', ['far end'], async ({ equal, people }) => {
  const lid = await lidOf(people.contact);
  const last = await WPP.chat.getMessages(lid, { count: 4 });
  const before = await WPP.chat.getMessages(lid, { count: 2, direction: 'before', id: String(last[2].id) });
  equal(
    before.map(({ id }) => String(id)),
    last.slice(0, 2).map(({ id }) => String(id)),
    'the two before the third',
  );
  const after = await WPP.chat.getMessages(lid, { count: 2, direction: 'after', id: String(last[1].id) });
  equal(
    after.map(({ id }) => String(id)),
    last.slice(2, 4).map(({ id }) => String(id)),
    'the two after the second',
  );
});

linked('chats are listed, and the newest message dates the chat', ['far end'], async (context) => {
  const { ensure, equal, people } = context;
  const message = await receiveFrom(context, 'dated');
  const lid = await lidOf(people.contact);
  const chat = (await WPP.chat.list({ ignoreGroupMetadata: true })).find(({ id }) => String(id) === lid);
  equal(chat.t, message.t, "the chat's time");
  equal(String(chat.lastReceivedKey), String(message.id), 'its last key');
  ensure(
    (await WPP.chat.list({ onlyUsers: true })).every(({ id }) => id.isUser()),
    'onlyUsers lists others',
  );
});

linked('ids are text only by String()', ['far end'], async (context) => {
  const message = await receiveFrom(context, 'as text');
  const { MsgKey } = WPP.whatsapp;
  context.ensure(MsgKey.fromString(String(message.id)).equals(message.id), 'a key does not survive its text');
});

linked(
  'a group appears with its participants',
  ['far end'],
  async ({ ensure, equal, events, farEnd, people, remember }) => {
    const { id } = await farEnd.group({
      owner: people.contact,
      members: [people.me, people.friend],
      subject: 'Gardeners',
    });
    const { given } = await events.next(
      'chat.new_chat',
      (chat) => chat.id.isGroup() && (!id || String(chat.id) === id),
    );
    const group = String(given[0].id);
    const participants = (await WPP.group.getParticipants(group)).map((participant) => String(participant.id));
    equal(
      [...participants].sort(),
      [await lidOf(people.contact), String(WPP.conn.getMyUserLid()), await lidOf(people.friend)].sort(),
      'participants',
    );
    ensure(
      (await WPP.group.getAllGroups()).some((chat) => String(chat.id) === group),
      'it is not among all groups',
    );
    equal(WPP.chat.get(group).name, 'Gardeners', 'its name');
    remember('group', group);
  },
);

linked(
  'a text to a group goes out under the own LID and is acknowledged',
  ['far end'],
  async ({ ensure, equal, events, recall }) => {
    const group = recall('group');
    const sent = await WPP.chat.sendTextMessage(group, 'hello gardeners', quiet);
    equal([sent.to, sent.ack], [group, 1], 'chat, ack');
    ensure(sent.id.startsWith(`true_${group}_`) && sent.id.endsWith(`_${WPP.conn.getMyUserLid()}`), sent.id);
    const { given } = await events.next(
      'chat.msg_ack_change',
      ({ ack, ids }) => ack === 2 && ids.some(({ id }) => id === bareId(sent.id)),
    );
    ensure(given[0].sender.isLid(), 'the receipt does not name its participant');
  },
);

linked('a text in a group names its author', ['far end'], async ({ equal, events, farEnd, people, recall }) => {
  const group = recall('group');
  await farEnd.type({ number: people.contact, to: group, text: 'watering day' });
  const { given } = await events.next('chat.new_message', (message) => message.body === 'watering day');
  equal([String(given[0].author), String(given[0].from)], [await lidOf(people.contact), group], 'author, from');
  equal(String(given[0].id.participant), await lidOf(people.contact), 'the participant of the key');
});

linked(
  'another linked account exchanges messages and receipts',
  ['second account'],
  async ({ equal, events, farEnd, people }) => {
    const { number } = await farEnd.peer({ deed: 'link' });
    await farEnd.peer({ deed: 'send', to: people.me, text: 'from another page' });
    await events.next('chat.new_message', (message) => message.body === 'from another page');
    const sent = await textTo(number, 'to another page');
    await farEnd.peer({ deed: 'read', from: people.me, text: 'to another page' });
    await events.next('chat.msg_ack_change', ({ ack, ids }) => ack === 3 && ids.map(String).includes(sent.id));
    equal((await WPP.chat.getMessageById(sent.id)).ack, 3, 'the ack');
  },
);
