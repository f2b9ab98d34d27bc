// Receiving: messages, receipts and news about groups. The cloud keeps each until it is stored here.
'use strict';

define('PageReceiving', () => {
  const connection = use('PageConnection');
  const { createWid } = use('WAWebWidFactory');
  const MsgKey = use('WAWebMsgKey').default;

  const valuesOf = (message) => {
    const chat = createWid(message.chat);
    const sender = createWid(message.sender);
    const isGroup = chat.isGroup();
    return {
      id: new MsgKey({
        fromMe: message.from_me,
        remote: chat,
        id: message.id,
        participant: isGroup ? sender : undefined,
      }),
      from: message.from_me || isGroup ? (message.from_me ? sender : chat) : sender,
      to: message.from_me ? chat : use('WAWebUserPrefsMeUser').getMeLidUserOrThrow(),
      author: isGroup ? sender : undefined,
      type: message.kind,
      body: message.body,
      ...use('PageMessages').contentFrom(message.content),
      t: message.t,
      ack: message.from_me ? 1 : 0,
      notifyName: message.name ?? '',
    };
  };

  const receiveMessage = async ({ message }) => {
    const chat = createWid(message.chat);
    await use('PageContacts').meet({
      lid: chat.isGroup() ? message.sender : message.chat,
      number: message.number,
      pushname: message.from_me ? undefined : message.name,
    });
    const values = { ...valuesOf(message), isNewMsg: true };
    if (await use('PageHappenings').receive(chat, values, message.content)) return;
    await use('WAWebMsgCollection').MsgCollection.processMultipleMessages(chat, [values]);
  };

  // Through the exports object, because wa-js replaces these functions there to learn of acks 2 and 3.
  const receiveReceipt = async ({ chat, ids, ack, participant }) => {
    const from = createWid(chat);
    const receipt = {
      ack,
      ackString: ack >= 3 ? 'read' : 'delivery',
      from,
      participant: participant ? createWid(participant) : null,
      recipient: null,
      externalIds: ids,
    };
    if (from.isGroup()) await use('WAWebHandleGroupChatReceipt').handleGroupSimpleReceipt(receipt);
    else await use('WAWebHandleDirectChatReceipt').handleChatSimpleReceipt(receipt);
  };

  const receive = {
    message: receiveMessage,
    receipt: receiveReceipt,
    group: ({ group, deed }) => use('PageGroups').learn(group, deed),
  };

  // What the account had before this page: stored and shown, and news to nobody.
  connection.on('history', async ({ messages }) => {
    const { toRow, show } = use('PageMessages');
    const chats = Map.groupBy(messages, ({ chat }) => chat);
    // By their own times, so that they come before everything that arrives from now on.
    const rows = messages.map((message, n) => ({ ...toRow(valuesOf(message)), arrival: message.t * 1_000_000 + n }));
    await use('PageStorage').putAll('message', rows);
    for (const [id, of] of chats) {
      const last = of.at(-1);
      await use('PageContacts').meet({ lid: id, number: last.number, pushname: of.find(({ from_me }) => !from_me)?.name });
      const chat = await use('PageChats').open(createWid(id), { t: last.t });
      const shown = show(chat, valuesOf(last));
      chat.set({ t: last.t, lastReceivedKey: shown.id });
      await use('PageChats').save(chat);
    }
  });

  connection.on('queued', async ({ n, item }) => {
    await receive[item.item](item);
    use('PageSocket').say({ t: 'received', n });
  });
});

define('PageReceipts', (exports) => {
  const MsgKey = use('WAWebMsgKey').default;
  const storage = use('PageStorage');

  // Raises the acknowledgement of own messages, in memory and in the table.
  exports.apply = async ({ ack, from, externalIds }) => {
    const me = use('WAWebUserPrefsMeUser').getMaybeMeLidUser();
    for (const id of externalIds) {
      const participant = from.isGroup() ? me : undefined;
      const key = new MsgKey({ fromMe: true, remote: from, id, participant });
      use('WAWebMsgCollection').MsgCollection.get(key)?.updateAck(ack);
      const row = await storage.get('message', String(key));
      if (row && row.ack >= 0 && row.ack < ack) await storage.put('message', { ...row, ack });
    }
  };
});

define('WAWebHandleDirectChatReceipt', (exports) => {
  exports.handleChatSimpleReceipt = (receipt) => use('PageReceipts').apply(receipt);
});

define('WAWebHandleGroupChatReceipt', (exports) => {
  exports.handleGroupSimpleReceipt = (receipt) => use('PageReceipts').apply(receipt);
});

define('WAWebHandleStatusReceipt', (exports) => {
  exports.handleStatusSimpleReceipt = (receipt) => use('PageReceipts').apply(receipt);
});
