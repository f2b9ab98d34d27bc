// Labels of a business account: the marks by which it sorts its chats. The cloud has them; the page shows what it is told.
'use strict';

define('WAWebListUtils', (exports) => {
  const COLORS = ['#ff9485', '#64c4ff', '#ffd429', '#dfaef0', '#99b6c1', '#55ccb3', '#ff9dff', '#d3a91d', '#6d7cce', '#d7e752'];
  exports.getAllLabelColors = () => COLORS;
  exports.colorIndexToHex = (index) => COLORS[index % COLORS.length];
});

define('WAWebLabelCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  class LabelItemCollection extends Collection {
    static model = defineModel('labelItem', class extends BaseModel {});

    get _models() {
      return this.models;
    }
  }
  class Label extends BaseModel {
    constructor(values) {
      super(values);
      Object.defineProperty(this, 'labelItemCollection', { value: new LabelItemCollection() });
    }

    get hexColor() {
      return use('WAWebListUtils').colorIndexToHex(this.colorIndex);
    }
  }
  class LabelCollectionImpl extends Collection {
    static model = defineModel('label', Label);

    // Tells the server; the page shows it when the server has agreed.
    async addOrRemoveLabels(changes, chats) {
      for (const { id, type } of changes) {
        for (const chat of chats) {
          await use('PageSettings').set('label', `${id} ${chat.id}`, type === 'add');
        }
      }
    }
  }
  exports.LabelCollectionImpl = LabelCollectionImpl;
  exports.LabelCollection = new LabelCollectionImpl();
});

// wa-js replaces two of these on their exports object to learn which chat has got a label, or lost it.
define('WAWebBizLabelUtils', (exports) => {
  const { LabelCollection } = use('WAWebLabelCollection');
  const change = (chatId, labelId, isAdded) => {
    const items = LabelCollection.get(labelId)?.labelItemCollection;
    const id = `${labelId}_${chatId}`;
    if (isAdded) items?.add({ id, labelId, parentId: chatId, parentType: 'Chat' });
    else items?.remove(id);
    const chat = use('WAWebChatCollection').ChatCollection.get(chatId);
    const others = (chat?.labels ?? []).filter((label) => label !== labelId);
    chat?.set('labels', isAdded ? [...others, labelId] : others);
  };
  exports.addToLabelCollection = async (chatId, labelId) => change(chatId, labelId, true);
  exports.removeLabelFromCollection = async (chatId, labelId) => change(chatId, labelId, false);
  for (const name of ['createLabelItemId', 'getParentCollection', 'initializeLabels']) exports[name] = () => undefined;
});

define('PageLabels', (exports) => {
  const { LabelCollection } = use('WAWebLabelCollection');

  // All labels there are, with their chats.
  exports.learn = async (labels) => {
    const utils = use('WAWebBizLabelUtils');
    for (const { id } of LabelCollection.models) {
      if (!labels.some((label) => label.id === id)) LabelCollection.remove(id);
    }
    for (const { id, name, color, chats } of labels) {
      const [label] = LabelCollection.add({ id, name, colorIndex: color }, { merge: true });
      const before = label.labelItemCollection.models.map(({ parentId }) => parentId);
      for (const chat of chats) if (!before.includes(chat)) await utils.addToLabelCollection(chat, id);
      for (const chat of before) if (!chats.includes(chat)) await utils.removeLabelFromCollection(chat, id);
    }
  };

  use('PageConnection').on('labels', ({ labels }) => exports.learn(labels));
});
