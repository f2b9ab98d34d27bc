// Chats: finding and creating them, unread counts, typing states.
'use strict';

define('WAWebPresenceModel', (exports) => {
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  const Collection = use('WAWebCollection').default;
  class Chatstate extends BaseModel {}
  class ChatstateCollection extends Collection {
    static model = Chatstate;
  }
  class Presence extends BaseModel {
    constructor(values) {
      const { id } = values;
      const chatstate = new Chatstate({ id });
      const chatstates = new ChatstateCollection();
      super({ isUser: id.isUser(), isGroup: id.isGroup(), hasData: false, ...values, chatstate, chatstates });
    }

    async subscribe() {
      this.set('isSubscribed', true);
    }
  }
  exports.Chatstate = defineModel('chatstate', Chatstate);
  exports.ChatstateCollection = ChatstateCollection;
  exports.Presence = defineModel('presence', Presence);
});

define('WAWebPresenceCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  class PresenceCollection extends Collection {
    static model = use('WAWebPresenceModel').Presence;
  }
  exports.PresenceCollection = new PresenceCollection();
});

define('WAWebChatModel', (exports) => {
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  class Chat extends BaseModel {
    static defaults = { unreadCount: 0, t: 0, archive: false, name: undefined, lastReceivedKey: undefined };

    constructor(values) {
      super(values);
      const { ChatMsgsCollection } = use('WAWebChatMsgsCollection');
      const { PresenceCollection } = use('WAWebPresenceCollection');
      const Mute = use('WAWebMuteModel').default;
      Object.defineProperty(this, 'msgs', { value: new ChatMsgsCollection() });
      Object.defineProperty(this, 'promises', { value: {} });
      Object.defineProperty(this, 'mute', { value: new Mute({ id: this.id, expiration: values.muteExpiration ?? 0 }) });
      Object.defineProperty(this, 'presence', { value: PresenceCollection.gadd(this.id) });
    }

    get contact() {
      return this.id && use('WAWebContactCollection').ContactCollection.get(this.id);
    }

    get groupMetadata() {
      return this.id?.isGroup() ? use('WAWebGroupMetadataCollection').default.get(this.id) : undefined;
    }

    get formattedTitle() {
      return this.name ?? (this.contact && use('WAWebFrontendContactGetters').getDisplayName(this.contact));
    }

    // wa-js writes it when it has renamed a group.
    set formattedTitle(title) {
      this.set('name', title);
    }

    get isParentGroup() {
      return false;
    }
  }
  exports.Chat = defineModel('chat', Chat);
});

define('WAWebChatCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  class ChatCollectionImpl extends Collection {
    static model = use('WAWebChatModel').Chat;
  }
  exports.ChatCollectionImpl = ChatCollectionImpl;
  exports.ChatCollection = new ChatCollectionImpl();
});

define('PageChats', (exports) => {
  const storage = use('PageStorage');
  const { ChatCollection } = use('WAWebChatCollection');
  const { createWid } = use('WAWebWidFactory');
  const MsgKey = use('WAWebMsgKey').default;

  exports.save = (chat) =>
    storage.put('chat', {
      id: String(chat.id),
      name: chat.name,
      t: chat.t,
      unreadCount: chat.unreadCount,
      archive: chat.archive,
      pin: chat.pin,
      muteExpiration: chat.mute.expiration,
      lastReceivedKey: chat.lastReceivedKey && String(chat.lastReceivedKey),
    });

  exports.open = async (id, values = {}) => {
    const known = ChatCollection.get(id);
    if (known) return known;
    const [chat] = ChatCollection.add({ t: use('WATimeUtils').unixTime(), ...values, id });
    await exports.save(chat);
    return chat;
  };

  exports.restore = async () => {
    for (const row of await storage.all('chat')) {
      const lastReceivedKey = row.lastReceivedKey && MsgKey.fromString(row.lastReceivedKey);
      ChatCollection.add({ ...row, id: createWid(row.id), lastReceivedKey });
    }
  };

  use('PageConnection').on('presence', ({ chat, state }) => {
    const { PresenceCollection } = use('WAWebPresenceCollection');
    const presence = PresenceCollection.gadd(createWid(chat));
    presence.set({ hasData: true, isOnline: true });
    presence.chatstate.set('type', state === 'paused' ? 'available' : state === 'composing' ? 'typing' : state);
    PresenceCollection.trigger('change:chatstate.type', presence.chatstate);
  });
});

define('WAWebFindChatAction', (exports) => {
  // The chat with somebody, by number or LID. It lives under the LID; only a number that is not on WhatsApp keeps its own.
  exports.findOrCreateLatestChat = async (wid) => {
    const { ChatCollection } = use('WAWebChatCollection');
    let id = wid;
    if (wid.isRegularUserPn()) {
      const { getCurrentLid } = use('WAWebApiContact');
      id = getCurrentLid(wid) ?? (await use('WAWebQueryExistsJob').queryWidExists(wid))?.lid ?? wid;
    }
    const created = !ChatCollection.get(id);
    const chat = await use('PageChats').open(id);
    return { chat: { id: chat.id }, created };
  };
  exports.findExistingChat = async (wid) => use('WAWebChatCollection').ChatCollection.get(wid);
});

define('WAWebCreateChat', (exports) => {
  exports.createChat = (wid) => use('WAWebFindChatAction').findOrCreateLatestChat(wid);
});

define('WAWebApiChat', (exports) => {
  exports.createChatRecord = async (chat) => use('PageChats').open(chat.id);
});

define('WAWebUpdateUnreadChatAction', (exports) => {
  exports.sendSeen = async ({ chat }) => {
    if (chat.unreadCount === 0) return;
    const unread = chat.msgs.filter((message) => !message.id.fromMe).slice(-Math.abs(chat.unreadCount));
    const ids = unread.map((message) => message.id.id);
    use('PageSocket').say({ t: 'seen', chat: String(chat.id), ids });
    chat.set('unreadCount', 0);
    await use('PageChats').save(chat);
  };
  exports.markUnread = async (chat) => {
    chat.set('unreadCount', -1);
    await use('PageChats').save(chat);
  };
});

define('WAWebPresenceChatAction', (exports) => {
  const tell = (state) => async (chat) => use('PageSocket').say({ t: 'chatstate', chat: String(chat.id), state });
  exports.markComposing = tell('composing');
  exports.markRecording = tell('recording');
  exports.markPaused = tell('paused');
});

define('WAWebFrontendChatGetters', (exports) => {
  exports.getHasUnread = (chat) => chat.unreadCount !== 0;
  exports.getShouldAppearInList = () => true;
  exports.getPreviewMessage = (chat) => chat.msgs?.last();
  exports.getShowChangeNumberNotification = () => false;
  exports.getShouldShowUnreadDivider = (chat) => chat.unreadCount > 0;
});
