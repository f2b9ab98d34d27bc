// Stage `ready`: wa-js has just been injected into a page that nobody is logged in to.
'use strict';

// What an adapter around wa-js touches. Each is a binding of `WPP.whatsapp`, or one of its functions.
const BINDINGS =
  `ApiContact BackendEventBus Base64 BlocklistStore CallStore ChatModel ChatPresence ChatStore Cmd Conn ContactModel
ContactStore GroupMetadataModel GroupMetadataStore IsOfficialClient LabelStore Lid1X1MigrationUtils LinkDeviceEvents MsgKey
MsgModel MsgStore NetworkStatus PresenceStore Socket StatusV3Store Stream UserPrefs Wid WidFactory lidPnCache
functions.addAndSendMsgToChat functions.canReplyMsg functions.createChatRecord functions.createMsgProtobuf
functions.encryptAndSendMsg functions.findFirstWebLink functions.findOrCreateLatestChat
functions.genLinkDeviceCodeForPhoneNumber functions.getABPropConfigValue functions.getDisplayName
functions.getEphemeralFields functions.getErrorCodeFromLogoutReason functions.getHasUnread functions.getNumChatsPinned
functions.getPushname functions.getSearchContext functions.getShouldAppearInList functions.handleChatSimpleReceipt
functions.handleGroupSimpleReceipt functions.handleSingleMsg functions.handleStatusSimpleReceipt
functions.initializeAltDeviceLinking functions.isAuthenticated functions.isRegistered functions.isUnreadTypeMsg
functions.mediaTypeFromProtobuf functions.msgFindByDirection functions.primaryFeatureEnabled functions.queryAllGroups
functions.queryWidExists functions.randomMessageId functions.sendSeen functions.markUnread functions.unixTime
functions.typeAttributeFromProtobuf functions.updateDBForGroupAction multidevice.adv multidevice.waNoiseInfo
multidevice.waSignalStore enums.ACK enums.SendMsgResult contants.SANITIZED_VERSION_STR`.split(/\s+/);

conformance.assert(
  { name: 'wa-js becomes ready and fully ready before anybody logs in', stage: 'ready' },
  async ({ until }) => {
    await until('readiness', () => WPP.isReady && WPP.isFullReady);
  },
);

conformance.assert({ name: 'wa-js starts in its usual order', stage: 'ready' }, async ({ events }) => {
  await events.next('loader.full_ready');
  events.ensureOrder(['loader.injected', 'conn.main_init', 'loader.ready', 'loader.full_ready']);
  events.ensureOrder(['loader.injected', 'conn.stream_mode_changed QR', 'conn.main_ready', 'loader.full_ready']);
});

conformance.assert({ name: 'every binding an adapter needs is resolved', stage: 'ready' }, async ({ equal }) => {
  const value = (path) => path.split('.').reduce((parent, name) => parent?.[name], WPP.whatsapp);
  equal(
    BINDINGS.filter((path) => value(path) === undefined),
    [],
    'unresolved bindings',
  );
});

conformance.assert({ name: 'nobody is logged in', stage: 'ready' }, async ({ equal, refusal }) => {
  equal([WPP.conn.isAuthenticated(), WPP.conn.isRegistered()], [false, false], 'authenticated, registered');
  equal(WPP.conn.getMyUserId(), undefined, 'my id');
  await refusal((async () => WPP.conn.getMyUserLid())(), 'asking for my LID before login');
});

conformance.assert(
  { name: 'a page that waits shows its models so', stage: 'ready' },
  async ({ equal, until, page }) => {
    await until('the QR code', () => page('WAWebConnModel').Conn.ref);
    equal(
      [page('WAWebStreamModel').Stream.mode, page('WAWebSocketModel').Socket.state],
      ['QR', 'UNPAIRED'],
      'mode, state',
    );
    equal(WPP.conn.getStreamData().mode, 'QR', 'the mode wa-js reports');
  },
);

conformance.assert(
  { name: 'the QR code has a reference and three keys', stage: 'ready' },
  async ({ ensure, until }) => {
    const code = await until('the QR code', () => WPP.conn.getAuthCode());
    const parts = code.fullCode.split(',');
    ensure(parts.length === 4 && parts.every((part) => part.length > 20), `the code is ${code.fullCode}`);
    ensure(parts[0].startsWith('2@'), 'the reference does not start with 2@');
    for (const key of parts.slice(1)) ensure(atob(key).length === 32, 'a key is not of 32 bytes');
  },
);

conformance.assert(
  { name: "the QR code can be read from the page's own modules", stage: 'ready' },
  async ({ equal, page, until }) => {
    await until('the QR code', () => page('WAWebConnModel').Conn.ref);
    const { encodeB64 } = page('WABase64');
    const noise = await page('WAWebUserPrefsInfoStore').waNoiseInfo.get();
    const registration = await page('WAWebSignalStoreApi').waSignalStore.getRegistrationInfo();
    const own = [
      page('WAWebConnModel').Conn.ref,
      encodeB64(noise.staticKeyPair.pubKey),
      encodeB64(registration.identityKeyPair.pubKey),
      await page('WAWebAdvSignatureApi').getADVSecretKey(),
    ].join(',');
    equal(own, (await WPP.conn.getAuthCode()).fullCode, 'the code');
  },
);

conformance.assert({ name: 'the QR code is announced', stage: 'ready' }, async ({ events, equal }) => {
  const { given } = await events.next('conn.auth_code_change code');
  equal(given[0].type, 'multidevice', 'its type');
  await events.next('conn.require_auth');
});

conformance.assert(
  { name: 'connecting is announced step by step', stage: 'ready', needs: ['slow start'] },
  async ({ events }) => {
    await events.next('conn.auth_code_change code');
    events.ensureOrder([
      'loader.injected',
      'conn.auth_code_change null',
      'conn.stream_mode_changed QR',
      'conn.main_ready',
      'conn.main_init',
      'loader.ready',
      'loader.full_ready',
      'conn.backend_event set_socket_state OPENING',
      'conn.backend_event set_socket_state PAIRING',
      'conn.backend_event set_socket_state UNPAIRED',
      'conn.auth_code_change code',
    ]);
    events.ensureOrder(['conn.backend_event set_socket_state UNPAIRED', 'conn.require_auth']);
  },
);

conformance.assert(
  { name: 'the command bus has lost what wa-js still looks for', stage: 'ready' },
  async ({ equal, events, page }) => {
    const { Cmd } = page('WAWebCmd');
    equal(
      [typeof Cmd.refreshQR, typeof Cmd.isMainLoaded, typeof Cmd.logout],
      ['undefined', 'undefined', 'undefined'],
      'Cmd',
    );
    equal(
      [events.has('conn.main_loaded'), events.has('conn.authenticated')],
      [false, false],
      'dead events that were heard',
    );
  },
);

conformance.assert({ name: 'refreshQR of wa-js fails', stage: 'ready' }, async ({ ensure, refusal }) => {
  const error = await refusal(WPP.conn.refreshQR(), 'refreshQR');
  ensure(/refreshQR is not a function/.test(error.message), error.message);
});

conformance.assert(
  { name: 'getMyDeviceId of wa-js fails before login', stage: 'ready' },
  async ({ ensure, refusal }) => {
    const error = await refusal((async () => WPP.conn.getMyDeviceId())(), 'getMyDeviceId');
    ensure(/getMe is not a function/.test(error.message), error.message);
  },
);
