// Stages `linked`, `returning` and `unlinked`: lost lines, reloads, and the end of a link.
'use strict';

linked(
  'a lost line is announced and comes back in the usual order',
  ['control'],
  async ({ equal, events, farEnd, people, page }) => {
    await farEnd.drop({ number: people.me });
    await events.next('conn.backend_event socket_stream_disconnected');
    await events.next('conn.stream_info_changed NORMAL');
    events.ensureOrder([
      'conn.backend_event socket_stream_disconnected',
      'conn.backend_event set_socket_state OPENING',
      'conn.backend_event set_socket_state PAIRING',
      'conn.stream_info_changed RESUMING',
      'conn.backend_event set_socket_state CONNECTED',
      'conn.stream_info_changed NORMAL',
    ]);
    equal(
      [page('WAWebStreamModel').Stream.mode, events.has('conn.stream_mode_changed')],
      ['MAIN', false],
      'the mode, and whether it changed',
    );
  },
);

linked(
  'messages of a time without a line arrive after it, once',
  ['control'],
  async ({ equal, events, farEnd, people }) => {
    await farEnd.outage({ on: true });
    await farEnd.drop({ number: people.me });
    await farEnd.receive({ number: people.me, from: people.contact, text: 'while you were away' });
    await farEnd.outage({ on: false });
    await events.next('chat.new_message', (message) => message.body === 'while you were away');
    const found = await WPP.chat.getMessages(await lidOf(people.contact), { count: 5 });
    equal(found.filter(({ body }) => body === 'while you were away').length, 1, 'copies');
  },
);

linked(
  'a silent line keeps a send waiting until the line is found dead',
  ['control'],
  async ({ equal, events, farEnd, people, pause, outcome }) => {
    await farEnd.silence({ number: people.me, on: true });
    let settled = false;
    const sending = outcome(textTo(people.contact, 'into silence')).finally(() => (settled = true));
    await pause(1_000);
    equal(settled, false, 'settled while the line is silent');
    const { value } = await sending; // the page's own pulse ends the line
    equal([value.ack, value.sendMsgResult.messageSendResult], [0, 'ERROR_UNKNOWN'], 'ack, result');
    await events.next('chat.msg_ack_change', ({ ack, ids }) => ack === 1 && ids.map(String).includes(value.id));
    const left = (await farEnd.sent({ number: people.me })).sent.filter(({ id }) => id === bareId(value.id));
    equal(left.length, 1, 'departures');
  },
);

linked(
  'another window takes over, until this one is asked back',
  ['control'],
  async ({ events, farEnd, people, page, until }) => {
    await farEnd.conflict({ number: people.me });
    await events.next('conn.stream_mode_changed CONFLICT');
    await until('the state CONFLICT', () => page('WAWebSocketModel').Socket.state === 'CONFLICT');
    page('WAWebSocketModel').Socket.takeover();
    await events.next('conn.stream_mode_changed MAIN');
  },
);

linked(
  'a temporary ban is announced and ends by itself',
  ['control'],
  async ({ equal, events, farEnd, people, page, until }) => {
    await farEnd.ban({ number: people.me, reason: 101, seconds: 2 });
    const { given } = await events.next('conn.backend_event account_temporarily_banned');
    equal(given[1].code, 101, 'the reason');
    await until('the return', () => page('WAWebSocketModel').Socket.state === 'CONNECTED');
    await events.next('conn.stream_info_changed NORMAL');
  },
);

linked('none of the dead events was ever heard', [], async ({ equal }) => {
  const dead = ['conn.authenticated', 'conn.main_loaded', 'conn.logout', 'conn.logout_reason'];
  equal(
    dead.filter((name) => conformance.trace().includes(name)),
    [],
    'dead events',
  );
});

const returning = (name, needs, run) => conformance.assert({ name, needs, stage: 'returning' }, run);

returning(
  'a reloaded page is back without a QR code, and wa-js is fully ready in main mode',
  [],
  async ({ equal, events }) => {
    await events.next('conn.stream_mode_changed MAIN');
    await events.next('loader.full_ready');
    events.ensureOrder(['conn.stream_mode_changed MAIN', 'conn.main_ready', 'loader.full_ready']);
    equal(
      [events.has('conn.auth_code_change code'), events.has('conn.require_auth')],
      [false, false],
      'asked to log in',
    );
  },
);

returning(
  'a returning page announces its chats between login and main mode',
  ['slow start'],
  async ({ ensure, events }) => {
    await events.next('conn.stream_mode_changed MAIN');
    events.ensureOrder([
      'conn.stream_mode_changed SYNCING',
      'conn.backend_event ab_props_loaded',
      'conn.backend_event set_socket_state CONNECTED',
      'chat.new_chat',
      'conn.stream_mode_changed MAIN',
    ]);
    const early = events.all().findIndex(({ line }) => line === 'loader.ready');
    const main = events.all().findIndex(({ line }) => line === 'conn.stream_mode_changed MAIN');
    ensure(early < main, 'wa-js was ready only in main mode');
  },
);

returning('chats and messages survived', [], async ({ equal, people, recall, until }) => {
  await until('main mode', () => WPP.isFullReady);
  equal((await WPP.chat.getMessageById(recall('first message'))).body, 'hello', 'an own message');
  const received = recall('received message');
  if (received) equal((await WPP.chat.getMessageById(received)).body, 'hi there', 'a received message');
  equal(
    (await WPP.chat.getMessages(await lidOf(people.contact), { count: 10 })).length,
    10,
    'messages read from the table',
  );
});

returning('acknowledgements survived', ['far end'], async ({ ensure, recall, until }) => {
  await until('main mode', () => WPP.isFullReady);
  const { ack } = await WPP.chat.getMessageById(recall('fixed id'));
  ensure(ack >= 1, `the ack is ${ack}`);
});

returning(
  'an id that was used before the reload is still a duplicate',
  [],
  async ({ equal, people, recall, refusal, until }) => {
    await until('main mode', () => WPP.isFullReady);
    const error = await refusal(
      textTo(people.contact, 'again', { messageId: recall('fixed id') }),
      'sending an id twice',
    );
    equal(error.name, 'DuplicateMessageError', 'the error');
  },
);

returning('groups and names survived', ['far end'], async ({ equal, recall, until }) => {
  await until('main mode', () => WPP.isFullReady);
  equal(WPP.chat.get(recall('group')).name, 'Gardeners', "the group's name");
  equal((await WPP.group.getParticipants(recall('group'))).length, 3, 'its participants');
});

returning('messages that came while the page was closed are there', ['control'], async ({ people, until }) => {
  await until('main mode', () => WPP.isFullReady);
  const lid = await lidOf(people.contact);
  await until('the message', async () =>
    (await WPP.chat.getMessages(lid, { count: 30 })).some(({ body }) => body === 'while you were closed'),
  );
});

const unlinked = (name, needs, run, more) => conformance.assert({ name, needs, stage: 'unlinked', ...more }, run);

unlinked(
  'a phone that logs the page out ends its registration at once and brings the QR code back later',
  ['far end'],
  async ({ equal, events, farEnd, people, until, page }) => {
    await farEnd.unlink({ number: people.me });
    await events.next('conn.backend_event socket_stream_disconnected');
    await until('the end of the registration', () => !WPP.conn.isRegistered());
    await until('the mode SYNCING', () => page('WAWebStreamModel').Stream.mode === 'SYNCING');
    await events.next('conn.stream_mode_changed QR');
    await events.next('conn.require_auth');
    events.ensureOrder([
      'conn.backend_event socket_stream_disconnected',
      'conn.stream_mode_changed SYNCING',
      'conn.stream_mode_changed QR',
    ]);
    equal([events.has('conn.logout'), events.has('conn.logout_reason')], [false, false], 'dead events that were heard');
  },
  { patience: 3 },
);

unlinked('nothing of the account stays behind', ['far end'], async ({ equal, until }) => {
  equal([localStorage.getItem('last-wid-md'), WPP.conn.getMyUserId()], [null, undefined], 'the own id');
  equal((await WPP.chat.list({ ignoreGroupMetadata: true })).length, 0, 'chats');
  await until('a new code', currentCode);
});

unlinked(
  'a pairing code links the page',
  ['far end'],
  async ({ events, farEnd, people }) => {
    const code = await WPP.conn.genLinkDeviceCodeForPhoneNumber(people.me);
    await farEnd.enter_code({ number: people.me, code });
    await events.next('conn.stream_mode_changed MAIN', undefined, 100_000);
  },
  { patience: 6 },
);

unlinked(
  'logging out from the page brings the QR code back, and conn.logout never settles',
  ['far end'],
  async ({ equal, events, until }) => {
    let settled = false;
    WPP.conn.logout().then(
      () => (settled = true),
      () => (settled = true),
    );
    await events.next('conn.stream_mode_changed QR');
    await until('the end of the registration', () => !WPP.conn.isRegistered());
    equal(settled, false, 'conn.logout settled');
  },
  { patience: 3 },
);
