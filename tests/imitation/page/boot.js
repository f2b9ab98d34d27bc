// The start of the page: read who we are, connect, and after the first login bring back what was stored.
'use strict';

define('PageBoot', (exports) => {
  let restored = null;

  exports.boot = async () => {
    await use('PageIdentity').load();
    const parts = ['PageLinking', 'PagePasskey', 'PageReceiving', 'PageChats', 'PageCalls', 'PageRestriction', 'PageLabels'];
    for (const part of parts) use(part);
    navigator.storage?.persist?.().catch(() => {});
    await use('PageConnection').start();
  };

  // Stored chats come back after login, one by one, as new chats; the rest of the page's life they are simply there.
  exports.restoreOnce = () => {
    restored ??= (async () => {
      await use('PageContacts').restore();
      await use('PageGroups').restore();
      await use('PageChats').restore();
      await use('PageMessages').restore();
    })();
    return restored;
  };
});
