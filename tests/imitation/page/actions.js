// What is done to messages and chats once they are there: reactions, other wordings, messages taken back, votes, stars,
// pins, archives, blocks. To the cloud the first four are messages of their own, which name the message they are about;
// the others are settings of the account.
'use strict';

define('PageTargets', (exports) => {
  const MsgKey = use('WAWebMsgKey').default;
  const { createWid } = use('WAWebWidFactory');
  const { MsgCollection } = use('WAWebMsgCollection');
  const storage = use('PageStorage');

  // A message is named by its id and its writer: its key is another one for everybody who has it.
  exports.name = (message) => ({ id: message.id.id, author: String(message.sender) });
  exports.keyOf = (chat, { id, author }) => {
    const writer = createWid(author);
    const fromMe = use('WAWebUserPrefsMeUser').isMeAccount(writer);
    return new MsgKey({ fromMe, remote: chat, id, participant: chat.isGroup() ? writer : undefined });
  };

  // Changes a message in the table and, if it is there, in memory.
  exports.change = async (key, values) => {
    const { toRow, fromRow } = use('PageMessages');
    const row = await storage.get('message', String(key));
    if (row) {
      const changed = toRow({ ...fromRow(row), ...values });
      await storage.put('message', { ...changed, arrival: row.arrival });
    }
    MsgCollection.get(key)?.set(values);
  };
});

define('WAWebReactionsMsgAction', (exports) => {
  // wa-js replaces this on its exports object to learn of reactions.
  exports.addOrUpdateReactionsModelCollection = async () => {};
});

define('WAWebSendReactionMsgAction', (exports) => {
  exports.sendReactionToMsg = (message, reactionText) =>
    use('PageOutbox').handIn(message.id.remote, 'reaction', '', {
      target: use('PageTargets').name(message),
      reactionText,
    });
});

define('WAWebSendMessageEditAction', (exports) => {
  exports.addAndSendMessageEdit = async (message, { id, t, body }) => {
    const content = { target: use('PageTargets').name(message), subtype: 'message_edit' };
    const result = await use('PageOutbox').handIn(message.id.remote, 'protocol', body, content, id);
    if (result !== 'OK') return;
    await use('PageTargets').change(message.id, { body, latestEditSenderTimestampMs: t * 1000, latestEditMsgKey: id });
  };
});

define('WAWebDBPollsUpsertVotes', (exports) => {
  // wa-js replaces this on its exports object to learn of votes.
  exports.upsertVotesDb = async () => {};
});

define('PageHappenings', (exports) => {
  const targets = use('PageTargets');
  const { createWid } = use('WAWebWidFactory');

  // What comes as a message and is none. Gives false for all others.
  exports.receive = async (chat, values, content) => {
    const { target } = content ?? {};
    if (!target) return false;
    const key = targets.keyOf(chat, target);
    const sender = values.author ?? (values.id.fromMe ? use('WAWebUserPrefsMeUser').getMeLidUserOrThrow() : values.from);
    switch (values.type) {
      case 'reaction':
        await use('WAWebReactionsMsgAction').addOrUpdateReactionsModelCollection(
          {
            msgKey: String(values.id),
            parentMsgKey: String(key),
            reactionText: content.reactionText,
            senderUserJid: String(sender),
            t: values.t,
            read: false,
            orphan: 0,
          },
          true, // it is new
        );
        return true;
      case 'poll_update':
        await use('WAWebDBPollsUpsertVotes').upsertVotesDb([
          {
            ack: values.ack,
            msgKey: values.id,
            parentMsgKey: key,
            selectedOptionLocalIds: content.selected,
            sender: createWid(sender),
            senderTimestampMs: values.t * 1000 + 999, // a second has begun somewhere in it
          },
        ]);
        return true;
      case 'pin_in_chat':
        use('WAWebPinInChatCollection').PinInChatCollection.gadd(key).set('pinType', content.pinType);
        return true;
      case 'protocol':
        values.subtype = content.subtype;
        values.protocolMessageKey = key;
        return false;
      default:
        return false;
    }
  };

  // A protocol message has come through the entrance of every batch.
  exports.apply = async ({ id, subtype, protocolMessageKey, body, t }) => {
    if (subtype === 'message_edit') {
      const edit = { latestEditSenderTimestampMs: t * 1000, latestEditMsgKey: id };
      await targets.change(protocolMessageKey, { body, ...edit });
    } else if (/revoke$/.test(subtype)) {
      await targets.change(protocolMessageKey, { type: 'revoked', body: undefined });
    }
  };
});

define('WAWebPinInChatCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  class PinInChatCollectionImpl extends Collection {
    static model = defineModel('pinInChat', class extends BaseModel {});

    getByParentMsgKey(key) {
      return this.get(key);
    }
  }
  exports.PinInChatCollectionImpl = PinInChatCollectionImpl;
  exports.PinInChatCollection = new PinInChatCollectionImpl();
});

define('WAWebSendPinMessageAction', (exports) => {
  // Here a pin is found by the message that it pins.
  exports.sendPinInChatMsg = async (message, pinType, duration) => {
    const content = { target: use('PageTargets').name(message), pinType, duration };
    const messageSendResult = await use('PageOutbox').handIn(message.id.remote, 'pin_in_chat', '', content);
    if (messageSendResult === 'OK') {
      use('WAWebPinInChatCollection').PinInChatCollection.gadd(message.id).set('pinType', pinType);
    }
    return { messageSendResult };
  };
});

define('PageSettings', (exports) => {
  exports.set = (setting, of, value) => use('PageSocket').request('set', { setting, of: String(of), value });
});

define('WAWebSetPinChatAction', (exports) => {
  exports.setPin = async (chat, pin) => {
    await use('PageSettings').set('pin', chat.id, pin);
    chat.set('pin', pin ? use('WATimeUtils').unixTime() : undefined);
    await use('PageChats').save(chat);
  };
});

define('WAWebBlockContactAction', (exports) => {
  const { set } = use('PageSettings');
  const blocklist = () => use('WAWebBlocklistCollection').BlocklistCollection;
  exports.blockContact = async ({ contact }) => {
    await set('block', contact.id, true);
    blocklist().gadd(contact.id);
  };
  exports.unblockContact = async (contact) => {
    await set('block', contact.id, false);
    blocklist().remove(contact.id);
  };
});

define('WAWebMuteModel', (exports) => {
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  class Mute extends BaseModel {
    static defaults = { expiration: 0 };

    async mute({ expiration }) {
      await use('PageSettings').set('mute', this.id, expiration);
      this.set('expiration', expiration);
    }

    async unmute() {
      await use('PageSettings').set('mute', this.id, 0);
      this.set('expiration', 0);
    }
  }
  exports.default = defineModel('mute', Mute);
});

define('WAWebCallModel', (exports) => {
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  class Call extends BaseModel {
    getState() {
      return this.state;
    }
  }
  exports.default = defineModel('call', Call);
});

define('PageCalls', () => {
  use('PageConnection').on('call', ({ id, from, video, began }) => {
    use('WAWebCallCollection').default.processIncomingCall({
      id,
      peerJid: use('WAWebWidFactory').createWid(from),
      isVideo: video,
      isGroup: false,
      offerTime: began,
      outgoing: false,
      state: use('WAWebVoipWaCallEnums').CallState.ReceivedCall,
    });
    use('WAWebCallCollection').default.activeCall = use('WAWebCallCollection').default.get(id);
  });
});

define('WAWebVoipStackInterface', (exports) => {
  exports.getVoipStackInterface = async () => ({
    rejectCall: async () => {
      const calls = use('WAWebCallCollection').default;
      await use('PageSettings').set('reject_call', calls.activeCall.id, true);
      calls.activeCall.set('state', use('WAWebVoipWaCallEnums').CallState.None);
      calls.activeCall = null;
    },
  });
});
