// What survives a reload: messages, chats, contacts and groups in the IndexedDB `model-storage`, keys in `signal-storage`.
// The names are the real page's, because backups of a profile are made of these files.
'use strict';

define('PageStorage', (exports) => {
  const open = (name, createStores) =>
    new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => createStores(request.result);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });

  const databases = {
    model: open('model-storage', (database) => {
      for (const store of ['chat', 'contact', 'group-metadata']) database.createObjectStore(store, { keyPath: 'id' });
      const messages = database.createObjectStore('message', { keyPath: 'id' });
      messages.createIndex('chat', ['chat', 'arrival']);
      messages.createIndex('ack', 'ack');
    }),
    signal: open('signal-storage', (database) => database.createObjectStore('signal-meta-store')),
  };

  // Resolves when the transaction is complete: from then on the data survives the death of the process.
  const transact = async (database, store, mode, work) => {
    const transaction = (await databases[database]).transaction(store, mode);
    return new Promise((resolve, reject) => {
      const request = work(transaction.objectStore(store));
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onabort = () => reject(transaction.error ?? request?.error);
    });
  };

  exports.put = (store, row) => transact('model', store, 'readwrite', (rows) => rows.put(row));
  // Unlike `put`, rejects with a ConstraintError when the id is taken.
  exports.add = (store, row) => transact('model', store, 'readwrite', (rows) => rows.add(row));
  // All in one transaction: rows by the thousand would take a minute else.
  exports.putAll = (store, all) =>
    transact('model', store, 'readwrite', (rows) => {
      for (const row of all) rows.put(row);
    });
  exports.get = (store, id) => transact('model', store, 'readonly', (rows) => rows.get(id));
  exports.all = (store) => transact('model', store, 'readonly', (rows) => rows.getAll());

  // The messages of a chat in the order in which they came.
  exports.messagesOf = (chat) =>
    transact('model', 'message', 'readonly', (rows) =>
      rows.index('chat').getAll(IDBKeyRange.bound([chat, 0], [chat, Infinity])),
    );
  exports.messagesWithAck = (ack) =>
    transact('model', 'message', 'readonly', (rows) => rows.index('ack').getAll(IDBKeyRange.only(ack)));

  exports.setSecret = (name, value) =>
    transact('signal', 'signal-meta-store', 'readwrite', (rows) => rows.put(value, name));
  exports.secret = (name) => transact('signal', 'signal-meta-store', 'readonly', (rows) => rows.get(name));

  exports.wipe = async () => {
    for (const store of ['message', 'chat', 'contact', 'group-metadata']) {
      await transact('model', store, 'readwrite', (rows) => rows.clear());
    }
    await transact('signal', 'signal-meta-store', 'readwrite', (rows) => rows.clear());
  };
});
