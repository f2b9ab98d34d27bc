// Messages: the model, the two places that hold it, the table behind them, and reading the table.
'use strict';

define('WAWebMsgModel', (exports) => {
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  class Msg extends BaseModel {
    static defaults = { ack: 0 };

    get sender() {
      if (!this.id) return undefined;
      return this.id.fromMe ? use('WAWebUserPrefsMeUser').getMaybeMeLidUser() : (this.author ?? this.from);
    }

    get senderObj() {
      return use('WAWebContactCollection').ContactCollection.get(this.sender);
    }

    downloadMedia() {
      return use('PageMediaData').download(this);
    }

    // Acknowledgements only climb; a failure is final.
    updateAck(ack) {
      if (this.ack >= 0 && ack > this.ack) this.set('ack', ack);
    }

    msgContextInfo() {
      return {
        quotedMsg: this.attributes,
        quotedStanzaID: this.id.id,
        quotedParticipant: this.sender,
        quotedRemoteJid: this.id.remote,
      };
    }
  }
  exports.Msg = defineModel('msg', Msg);
});

define('WAWebChatMsgsCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  class ChatMsgsCollection extends Collection {
    static model = use('WAWebMsgModel').Msg;
  }
  exports.ChatMsgsCollection = ChatMsgsCollection;
});

define('WAWebMsgCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  class MsgCollectionImpl extends Collection {
    static model = use('WAWebMsgModel').Msg;

    // The entrance of every incoming batch; wa-js replaces it on the instance to see revocations.
    async processMultipleMessages(chatId, messages) {
      for (const message of messages) await use('PageMessages').receive(message);
    }
  }
  exports.MsgCollectionImpl = MsgCollectionImpl;
  exports.MsgCollection = new MsgCollectionImpl();
});

define('PageMessages', (exports) => {
  const storage = use('PageStorage');
  const { createWid } = use('WAWebWidFactory');
  const MsgKey = use('WAWebMsgKey').default;
  const { MsgCollection } = use('WAWebMsgCollection');
  const ID_FIELDS = ['from', 'to', 'author'];
  let arrivals = 0;

  // What messages hold besides their body, by the real page's names. On the wire it is what the real page encrypts.
  const CONTENT_FIELDS = [
    ...['caption', 'mimetype', 'size', 'filename', 'duration', 'width', 'height', 'directPath', 'mediaKey', 'filehash'],
    ...['lat', 'lng', 'loc', 'clientUrl', 'vcardFormattedName', 'vcardList'],
    ...['pollName', 'pollOptions', 'pollSelectableOptionsCount'],
    ...['subtype', 'title', 'description', 'canonicalUrl', 'matchedText', 'richPreviewType', 'thumbnail'],
    ...['isForwarded', 'forwardingScore', 'mentionedJidList', 'quotedStanzaID', 'quotedParticipant', 'quotedMsg'],
    ...['isViewOnce', 'isGif', 'backgroundColor', 'latestEditMsgKey', 'latestEditSenderTimestampMs', 'star'],
  ];
  const QUOTED_FIELDS = ['type', 'body', 'caption', 'lat', 'lng', 'loc', 'pollName', 'vcardFormattedName'];
  const plain = (value) => JSON.parse(JSON.stringify(value));
  const pick = (from, names) =>
    Object.fromEntries(names.filter((name) => from[name] != null).map((name) => [name, from[name]]));

  exports.contentOf = (message) => {
    const content = pick(message, CONTENT_FIELDS);
    if (content.latestEditMsgKey) content.latestEditMsgKey = String(content.latestEditMsgKey);
    if (content.quotedMsg) content.quotedMsg = pick(content.quotedMsg, QUOTED_FIELDS);
    return plain(content);
  };
  exports.contentFrom = (content) => {
    const values = { ...content };
    if (values.mentionedJidList) values.mentionedJidList = values.mentionedJidList.map(createWid);
    if (values.quotedParticipant) values.quotedParticipant = createWid(values.quotedParticipant);
    return values;
  };

  // A row of the message table: plain data, in order of arrival.
  exports.toRow = (message) => {
    const row = {
      id: String(message.id),
      chat: String(message.id.remote),
      arrival: Date.now() * 1000 + (arrivals++ % 1000),
    };
    for (const name of ['type', 'body', 't', 'ack', 'notifyName']) row[name] = message[name];
    row.content = exports.contentOf(message);
    for (const name of ID_FIELDS) row[name] = message[name] && String(message[name]);
    return row;
  };
  const { toRow } = exports;

  exports.fromRow = (row) => {
    const { chat, arrival, content, ...plainFields } = row;
    const message = { ...plainFields, ...exports.contentFrom(content) };
    message.id = MsgKey.fromString(row.id);
    for (const name of ID_FIELDS) message[name] = row[name] && createWid(row[name]);
    return message;
  };

  // Puts a message where the page keeps it in memory. `isNewMsg` makes it an event.
  const show = (chat, values) => {
    const [message] = MsgCollection.add(values);
    use('PageMediaData').attach(message);
    chat.msgs.add(message);
    // Stories are shown by their author, too.
    const { remote, participant } = message.id;
    if (remote.isStatusV3()) use('WAWebStatusCollection').StatusV3Collection.addStatusMessages(participant, [message]);
    return message;
  };
  exports.show = show;

  // Stores a message that is not there yet, then shows it. False when its id was taken.
  exports.store = async (chat, values) => {
    try {
      await storage.add('message', toRow(values));
    } catch (error) {
      if (error?.name === 'ConstraintError') return null;
      throw error;
    }
    const message = show(chat, values);
    const isUnread = !message.id.fromMe;
    chat.set({
      t: message.t,
      lastReceivedKey: message.id,
      unreadCount: isUnread ? Math.max(0, chat.unreadCount) + 1 : chat.unreadCount,
    });
    await use('PageChats').save(chat);
    return message;
  };

  exports.receive = async (values) => {
    if (values.type === 'protocol') return use('PageHappenings').apply(values);
    const chat = await use('PageChats').open(values.id.remote);
    if (await exports.store(chat, { ...values, isNewMsg: true })) return undefined;
    // What could not be read has come again.
    const row = await storage.get('message', String(values.id));
    if (row?.type !== 'ciphertext') return undefined;
    const { id, isNewMsg, ...readable } = values;
    return use('PageTargets').change(id, readable);
  };

  // Writes the acknowledgement and time of a message back to its row.
  exports.update = async (message) => {
    const row = await storage.get('message', String(message.id));
    if (row) await storage.put('message', { ...row, ack: message.ack, t: message.t });
  };

  // After a reload only the last messages of a chat, and all stories, are in memory; the others are found in the table.
  exports.restore = async () => {
    const { ChatCollection } = use('WAWebChatCollection');
    for (const chat of ChatCollection.models) {
      const rows = await storage.messagesOf(String(chat.id));
      for (const row of chat.id.isStatusV3() ? rows : rows.slice(-1)) show(chat, exports.fromRow(row));
    }
  };
});

define('WAWebMsgDataFromModel', (exports) => {
  exports.msgDataFromMsgModel = (message) => message.attributes;
});

define('WAWebDBMessageFindLocal', (exports) => {
  const { fromRow } = use('PageMessages');

  // Up to `count` messages of the anchor's chat, on one side of it.
  const find = async ({ anchor, count, direction }) => {
    const rows = await use('PageStorage').messagesOf(String(anchor.remote));
    const at = rows.findIndex((row) => row.id === String(anchor));
    if (at < 0) return { messages: [] };
    const found = direction === 'after' ? rows.slice(at + 1, at + 1 + count) : rows.slice(Math.max(0, at - count), at);
    return { messages: found.map(fromRow) };
  };
  const none = async () => ({ messages: [] });
  Object.assign(exports, {
    msgFindByDirection: find,
    msgFindBefore: (query) => find({ ...query, direction: 'before' }),
    msgFindAfter: (query) => find({ ...query, direction: 'after' }),
    msgFindMedia: none,
    msgFindSearch: none,
    msgFindStarred: none,
    msgFindEvents: async () => [],
    msgFindCallLog: async () => [],
  });
});

define('WAWebChatMessageSearch', (exports) => {
  // Loads what surrounds a message into the chat, so that it can then be found there.
  exports.getSearchContext = ({ chat, msgKey }) => {
    const load = async () => {
      const row = await use('PageStorage').get('message', String(msgKey));
      if (row) use('PageMessages').show(chat, use('PageMessages').fromRow(row));
    };
    const collection = chat.msgs;
    return { collection: { get: (id) => collection.get(id), loadAroundPromise: load() } };
  };
});

define('WAWebQuotedMsgModelUtils', (exports) => {
  exports.getQuotedMsgObj = (message) =>
    message.quotedMsgId && use('WAWebMsgCollection').MsgCollection.get(message.quotedMsgId);
});
