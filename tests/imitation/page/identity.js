// Who this page is: its keys, and after linking the account it belongs to.
//
// As on the real page the session is spread over two stores: the noise key and the own ids lie in localStorage, the rest
// in IndexedDB. Both must be there to stay logged in. Chromium writes localStorage back lazily, so a browser that is
// killed soon after linking comes back with half a session, which is none.
'use strict';

define('PageIdentity', (exports) => {
  const storage = use('PageStorage');
  const { encodeB64, decodeB64 } = use('WABase64');
  const { createWid, toUserWid } = use('WAWebWidFactory');
  const LOCAL_KEYS = ['WANoiseInfo', 'last-wid-md', 'WALid', 'me-display-name'];

  let keys = null;
  let secret = null;
  let me = null;

  const randomBytes = () => crypto.getRandomValues(new Uint8Array(32));

  const meFromLocalStorage = () => {
    const [device, lid] = [localStorage.getItem('last-wid-md'), localStorage.getItem('WALid')];
    if (!device || !lid) return null;
    const [deviceWid, lidWid] = [createWid(device), createWid(lid)];
    return {
      device: deviceWid,
      pn: toUserWid(deviceWid),
      lid: toUserWid(lidWid),
      name: localStorage.getItem('me-display-name') ?? '',
    };
  };

  const createKeys = async () => {
    keys = { noise: randomBytes(), identity: randomBytes(), adv: encodeB64(randomBytes()) };
    localStorage.setItem('WANoiseInfo', JSON.stringify({ pubKey: encodeB64(keys.noise) }));
    await storage.setSecret('identity', keys.identity);
    await storage.setSecret('adv', keys.adv);
  };

  // Reads what is there. Half a session is wiped.
  exports.load = async () => {
    const noise = JSON.parse(localStorage.getItem('WANoiseInfo') ?? 'null');
    const [identity, adv, storedSecret] = [
      await storage.secret('identity'),
      await storage.secret('adv'),
      await storage.secret('companion'),
    ];
    const storedMe = meFromLocalStorage();
    if (noise && identity && adv && Boolean(storedSecret) === Boolean(storedMe)) {
      keys = { noise: new Uint8Array(decodeB64(noise.pubKey)), identity, adv };
      [secret, me] = [storedSecret ?? null, storedMe];
    } else {
      await exports.forget();
    }
  };

  // The link succeeded.
  exports.adopt = async (given, companionSecret) => {
    await storage.setSecret('companion', companionSecret);
    localStorage.setItem('last-wid-md', given.number.replace('@', `:${given.device}@`));
    localStorage.setItem('WALid', given.lid.replace('@', `:${given.device}@`));
    localStorage.setItem('me-display-name', given.name);
    [secret, me] = [companionSecret, meFromLocalStorage()];
  };

  // The device was removed: nothing stays, and the next link starts with fresh keys.
  exports.forget = async () => {
    [secret, me] = [null, null];
    for (const key of LOCAL_KEYS) localStorage.removeItem(key);
    await storage.wipe();
    await createKeys();
  };

  exports.isRegistered = () => secret !== null;
  exports.secret = () => secret;
  exports.me = () => me;
  exports.keys = () => keys;
  exports.publicKeys = () => ({ noise: encodeB64(keys.noise), identity: encodeB64(keys.identity), adv: keys.adv });
});

define('WAWebUserPrefsMultiDevice', (exports) => {
  exports.isRegistered = () => use('PageIdentity').isRegistered();
});

define('WAWebUserPrefsIsLoggedIn', (exports) => {
  exports.isLoggedIn = () => use('PageIdentity').isRegistered() && use('PageIdentity').me() !== null;
});

define('WAWebUserPrefsMeUser', (exports) => {
  const me = () => use('PageIdentity').me();
  const orThrow = (wid) => {
    if (!wid) throw new Error('there is no me before login');
    return wid;
  };
  Object.assign(exports, {
    getMaybeMePnUser: () => me()?.pn,
    getMaybeMeLidUser: () => me()?.lid,
    getMaybeMeDevicePn: () => me()?.device,
    getMeLidUserOrThrow: () => orThrow(me()?.lid),
    getMePnUserOrThrow_DO_NOT_USE: () => orThrow(me()?.pn),
    getMaybeMeDisplayName: () => me()?.name,
    isMeAccount: (wid) => wid != null && [me()?.pn, me()?.lid].some((own) => own?.isSameAccount(wid)),
  });
});

define('WAWebUserPrefsGeneral', (exports) => {
  let browserId = null;
  Object.assign(exports, {
    getPushname: () => use('PageIdentity').me()?.name,
    setBrowserId: (id) => (browserId = id),
    getBrowserId: () => browserId,
    getUserPrivacySettings: () => ({}),
  });
});

// The three stores a QR code is made of.
define('WAWebUserPrefsInfoStore', (exports) => {
  exports.waNoiseInfo = { get: async () => ({ staticKeyPair: { pubKey: use('PageIdentity').keys().noise } }) };
});

define('WAWebSignalStoreApi', (exports) => {
  exports.waSignalStore = {
    getRegistrationInfo: async () => ({ identityKeyPair: { pubKey: use('PageIdentity').keys().identity } }),
  };
});

define('WAWebAdvSignatureApi', (exports) => {
  exports.getADVSecretKey = () => use('PageIdentity').keys().adv;
  exports.setADVSignedIdentity = () => {};
});
