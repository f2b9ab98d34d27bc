// Stories: messages to a chat of their own, which belong to whoever wrote them and are gone after a day.
'use strict';

define('WAWebStatusCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  class Status extends BaseModel {
    constructor(values) {
      super(values);
      const { ChatMsgsCollection } = use('WAWebChatMsgsCollection');
      Object.defineProperty(this, 'msgs', { value: new ChatMsgsCollection() });
    }
  }
  class StatusV3CollectionImpl extends Collection {
    static model = defineModel('statusV3', Status);

    // Nothing while there is no story.
    getMyStatus() {
      return this.get(use('WAWebUserPrefsMeUser').getMaybeMePnUser());
    }

    addStatusMessages(author, messages) {
      const status = this.gadd(author);
      status.msgs.add(messages);
      status.set('lastReceivedKey', messages.at(-1).id);
    }

    handleUpdate() {}
  }
  exports.StatusV3CollectionImpl = StatusV3CollectionImpl;
  exports.StatusV3Collection = new StatusV3CollectionImpl();
});

define('WAJids', (exports) => {
  exports.STATUS_JID = 'status@broadcast';
});

define('WAWebRevokeStatusAction', (exports) => {
  exports.sendStatusRevokeMsgAction = async (status, message) => {
    const target = use('PageTargets').name(message);
    const content = { target, subtype: 'sender_revoke' };
    const result = await use('PageOutbox').handIn(message.id.remote, 'protocol', '', content);
    if (result !== 'OK') throw new Error(result);
    await use('PageTargets').change(message.id, { type: 'revoked', body: undefined });
    status.msgs.remove(message.id);
  };
});
