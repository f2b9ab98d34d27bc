// People: contacts, the translation between phone numbers and LIDs, and the question whether a number exists.
'use strict';

define('WAWebContactModel', (exports) => {
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  class Contact extends BaseModel {
    static defaults = { name: undefined, pushname: undefined, type: 'in', isBusiness: false };
  }
  exports.ContactModel = defineModel('contact', Contact);
});

define('WAWebContactCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  class ContactCollectionImpl extends Collection {
    static model = use('WAWebContactModel').ContactModel;
  }
  exports.ContactCollectionImpl = ContactCollectionImpl;
  exports.ContactCollection = new ContactCollectionImpl();
});

define('WAWebApiContact', (exports) => {
  const numbers = new Map();
  const lids = new Map();
  exports.lidPnCache = {
    add: (lid, { phoneNumber }) => {
      numbers.set(String(lid), phoneNumber);
      lids.set(String(phoneNumber), lid);
    },
    getPhoneNumber: (lid) => numbers.get(String(lid)),
    getCurrentLid: (number) => lids.get(String(number)),
    getLidEntry: (lid) => numbers.has(String(lid)) && { lid, phoneNumber: numbers.get(String(lid)) },
    getAllLids: () => [...lids.values()],
    clear: () => {
      numbers.clear();
      lids.clear();
    },
  };
  exports.getPhoneNumber = exports.lidPnCache.getPhoneNumber;
  exports.getCurrentLid = exports.lidPnCache.getCurrentLid;
  exports.getAlternateUserWid = (wid) => (wid.isLid() ? exports.getPhoneNumber(wid) : exports.getCurrentLid(wid));
});

define('WAWebDBCreateLidPnMappings', (exports) => {
  exports.createLidPnMappings = ({ mappings }) => {
    const { lidPnCache } = use('WAWebApiContact');
    for (const { lid, pn } of mappings) lidPnCache.add(lid, { phoneNumber: pn });
  };
});

// The account is migrated: 1:1 chats are keyed by LID.
define('WAWebLid1X1MigrationGating', (exports) => {
  exports.Lid1X1MigrationUtils = { isLidMigrated: () => true };
});

define('WAWebLidMigrationUtils', (exports) => {
  const toUserLid = (wid) => (wid.isLid() ? wid : use('WAWebApiContact').getCurrentLid(wid));
  exports.toUserLid = toUserLid;
  exports.toUserLidOrThrow = (wid) => {
    const lid = toUserLid(wid);
    if (!lid) throw new Error(`no LID is known for ${wid}`);
    return lid;
  };
  exports.shouldHaveAccountLid = (wid) => wid.isRegularUser();
  exports.getEnforceCurrentLid = (wid) => exports.toUserLidOrThrow(wid);
});

define('PageContacts', (exports) => {
  const storage = use('PageStorage');
  const { createWid } = use('WAWebWidFactory');
  const { ContactCollection } = use('WAWebContactCollection');
  const { lidPnCache } = use('WAWebApiContact');

  const show = ({ id, number, name, pushname }) => {
    const lid = createWid(id);
    lidPnCache.add(lid, { phoneNumber: createWid(number) });
    const values = Object.fromEntries(Object.entries({ name, pushname }).filter(([, value]) => value));
    ContactCollection.gadd(lid).set(values);
    // People of the address book appear under both ids.
    if (name) ContactCollection.gadd(createWid(number)).set(values);
  };

  // Notes who is behind a LID.
  exports.meet = async ({ lid, number, name, pushname }) => {
    const known = await storage.get('contact', lid);
    const row = { ...known, id: lid, number };
    if (name) row.name = name;
    if (pushname) row.pushname = pushname;
    await storage.put('contact', row);
    show(row);
  };

  exports.learn = async (me, addressBook) => {
    await exports.meet({ lid: me.lid, number: me.number, pushname: me.name });
    for (const { lid, number, name } of addressBook) await exports.meet({ lid, number, name });
  };

  exports.restore = async () => (await storage.all('contact')).forEach(show);
});

define('WAWebQueryExistsJob', (exports) => {
  const { createWid } = use('WAWebWidFactory');
  // Asks the cloud, and remembers the LID. `null`: not on WhatsApp.
  exports.queryWidExists = async (wid) => {
    const answer = await use('PageSocket').request('exists', { wid: String(wid) });
    if (!answer.exists) return null;
    const [pn, lid] = [createWid(answer.number), createWid(answer.lid)];
    use('WAWebDBCreateLidPnMappings').createLidPnMappings({ mappings: [{ lid, pn }], flushImmediately: true });
    return { wid: wid.isLid() ? lid : pn, lid, biz: false };
  };
  exports.queryPhoneExists = (phone) => exports.queryWidExists(createWid(`${String(phone).replace(/\D/g, '')}@c.us`));
});

define('WAWebContactGetters', (exports) => {
  const isMe = (contact) => use('WAWebUserPrefsMeUser').isMeAccount(contact.id);
  Object.assign(exports, {
    getIsMe: isMe,
    getNotifyName: (contact) => contact.pushname,
    getUserid: (contact) => contact.id?.user,
    getIsUser: (contact) => contact.id?.isUser(),
    getIsGroup: (contact) => contact.id?.isGroup(),
    getIsBroadcast: (contact) => contact.id?.isBroadcast(),
    getIsNewsletter: (contact) => contact.id?.isNewsletter(),
    getIsPSA: (contact) => contact.id?.isPSA(),
    getIsWAContact: () => true,
  });
  // Things no contact of the imitation is or has.
  for (const name of [
    'getPremiumMessageName',
    'getIsIAS',
    'getIsSupportAccount',
    'getCanRequestPhoneNumber',
    'getShowBusinessCheckmarkAsPrimary',
    'getShowBusinessCheckmarkAsSecondary',
    'getShowBusinessCheckmarkInChatlist',
    'getIsDisplayNameApproved',
    'getShouldForceBusinessUpdate',
  ]) {
    exports[name] = () => false;
  }
});

define('WAWebFrontendContactGetters', (exports) => {
  const numberOf = (contact) => {
    const { id } = contact;
    return id?.isLid() ? use('WAWebApiContact').getPhoneNumber(id) : id;
  };
  const phone = (contact) => {
    const number = numberOf(contact);
    return number ? `+${number.user}` : '';
  };
  const displayName = (contact) => contact.name ?? contact.pushname ?? phone(contact);
  Object.assign(exports, {
    getDisplayName: displayName,
    getDisplayNameOrPnForLid: displayName,
    getFormattedName: displayName,
    getFormattedShortName: displayName,
    getFormattedShortNameWithNonBreakingSpaces: displayName,
    getMentionName: displayName,
    getUserDisplayNameForLid: displayName,
    getSearchName: (contact) => displayName(contact).toLowerCase(),
    getSearchVerifiedName: () => undefined,
    getPnForLid: (contact) => (contact.id?.isLid() ? numberOf(contact) : undefined),
    getPhoneNumber: numberOf,
    getFormattedPhone: phone,
    getFormattedUser: phone,
    getFormattedUsernameOrPhone: phone,
    getTextStatusString: () => '',
    getHeader: () => undefined,
    getIsMyContact: (contact) => Boolean(contact.name),
  });
});
