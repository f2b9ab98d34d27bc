// Stage `page`: what the page offers before any library is in it.
'use strict';

conformance.assert(
  { name: 'the module runtime is reachable by its global functions', stage: 'page' },
  async ({ ensure }) => {
    for (const name of ['__d', 'require', 'importNamespace', 'importDefault']) {
      ensure(typeof globalThis[name] === 'function', `${name} is a ${typeof globalThis[name]}`);
    }
    ErrorGuard.skipGuardGlobal(true);
  },
);

conformance.assert(
  { name: 'the module map is a plain object of modules with factories', stage: 'page' },
  async ({ ensure }) => {
    const { modulesMap } = require('__debug');
    ensure(Object.keys(modulesMap).length > 50, 'there are hardly any modules');
    ensure(typeof modulesMap.WAWebStreamModel.factory === 'function', 'a module has no factory');
  },
);

conformance.assert({ name: 'requiring what does not exist throws', stage: 'page' }, async ({ refusal }) => {
  await refusal((async () => require('WAWebNothingOfTheKind'))(), 'requiring an unknown module');
});

conformance.assert(
  { name: 'a module with only a default export is unwrapped by require and not by importNamespace', stage: 'page' },
  async ({ ensure }) => {
    ensure(require('WAWebWid') === importNamespace('WAWebWid').default, 'require gives something else');
    ensure(importDefault('WAWebWid') === importNamespace('WAWebWid').default, 'importDefault gives something else');
  },
);

conformance.assert({ name: 'the core modules are registered', stage: 'page' }, async ({ equal }) => {
  const core = [
    'WAWebStreamModel',
    'WAWebSocketModel',
    'WAWebConnModel',
    'WAWebChatCollection',
    'WAWebMsgCollection',
    'WAWebUserPrefsIsLoggedIn',
    'WAWebCmd',
    'WAWebBackendEventBus',
  ];
  const { modulesMap } = require('__debug');
  equal(
    core.filter((id) => !(id in modulesMap)),
    [],
    'missing modules',
  );
});

conformance.assert(
  { name: 'functions of a module can be replaced for everybody', stage: 'page' },
  async ({ ensure }) => {
    const exports = importNamespace('WAWebHandleDirectChatReceipt');
    const original = exports.handleChatSimpleReceipt;
    exports.handleChatSimpleReceipt = () => 'replaced';
    const seen = importNamespace('WAWebHandleDirectChatReceipt').handleChatSimpleReceipt();
    exports.handleChatSimpleReceipt = original;
    ensure(seen === 'replaced', 'the replacement is not seen through the module');
  },
);

conformance.assert(
  { name: 'message keys keep their text in a property with a minified name', stage: 'page' },
  async ({ ensure, equal }) => {
    const MsgKey = require('WAWebMsgKey');
    ensure(String(MsgKey).includes('MsgKey error: obj is null/undefined'), 'wa-js would not find the class');
    const key = MsgKey.fromString('true_120363000000000001@g.us_3EB0AA_150547344662594@lid');
    equal(String(key), 'true_120363000000000001@g.us_3EB0AA_150547344662594@lid', 'a key as text');
    equal(
      [key.fromMe, String(key.remote), key.id, String(key.participant)],
      [true, '120363000000000001@g.us', '3EB0AA', '150547344662594@lid'],
      'the parts',
    );
    ensure(!Object.hasOwn(key, '_serialized'), 'a key has _serialized before wa-js gave it one');
  },
);

conformance.assert({ name: 'message keys and wids that are none are refused', stage: 'page' }, async ({ refusal }) => {
  await refusal((async () => require('WAWebMsgKey').fromString('nonsense'))(), 'a key without parts');
  await refusal((async () => importNamespace('WAWebWidFactory').createWid('nonsense'))(), 'a wid without a server');
});

conformance.assert({ name: 'wids know what they name', stage: 'page' }, async ({ ensure, equal }) => {
  const { createWid, createUserWidOrThrow } = importNamespace('WAWebWidFactory');
  const [number, lid, group] = ['4915112345678@c.us', '150547344662594@lid', '120363000000000001@g.us'].map(createWid);
  ensure(number.isUser() && !number.isLid() && !number.isGroup(), 'a number');
  ensure(lid.isUser() && lid.isLid(), 'a LID');
  ensure(group.isGroup() && !group.isUser(), 'a group');
  ensure(createWid('4915112345678@c.us').equals(number), 'equal wids are not equal');
  equal(
    [String(createUserWidOrThrow('4915112345678')), createWid('4915112345678:3@c.us').getDeviceId()],
    ['4915112345678@c.us', 3],
    'parts',
  );
});

conformance.assert({ name: 'the version is one of WhatsApp Web 2.3000', stage: 'page' }, async ({ ensure }) => {
  const { VERSION_STR } = importNamespace('WAWebBuildConstants');
  ensure(/^2\.3000\.\d+/.test(VERSION_STR), VERSION_STR);
  ensure(
    importNamespace('WAWebUpdaterVersion').SANITIZED_VERSION_STR.startsWith('2.3000.'),
    'the updater says otherwise',
  );
});

conformance.assert(
  { name: 'the content security policy keeps inline scripts out', stage: 'page' },
  async ({ ensure }) => {
    const script = document.createElement('script');
    script.textContent = 'globalThis.conformanceInlineScriptRan = true';
    document.body.append(script);
    script.remove();
    ensure(!globalThis.conformanceInlineScriptRan, 'an inline script ran');
  },
);
