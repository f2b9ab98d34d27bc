// Stage `linking`: from the QR code to a linked page. The last assertion links it.
'use strict';

const currentCode = async () => (await WPP.conn.getAuthCode())?.fullCode;

conformance.assert(
  { name: 'the event bus brings a new QR code on request', stage: 'linking' },
  async ({ events, until, page }) => {
    const before = await until('a code', currentCode);
    page('WAWebBackendEventBus').BackendEventBus.triggerRefreshQR();
    await events.next('conn.auth_code_change code', (code) => code.fullCode !== before);
  },
);

conformance.assert(
  { name: 'the next code follows when one is no longer valid', stage: 'linking', needs: ['far end', 'control'] },
  async ({ events, farEnd, until }) => {
    const before = await until('a code', currentCode);
    await farEnd.rotate_qr();
    await events.next('conn.auth_code_change code', (code) => code.fullCode !== before);
  },
);

conformance.assert(
  { name: 'a refused code is replaced', stage: 'linking', needs: ['far end', 'control'] },
  async ({ events, farEnd, until, equal }) => {
    const before = await until('a code', currentCode);
    await farEnd.refuse({ code: before });
    await events.next('conn.auth_code_change code', (code) => code.fullCode !== before);
    equal(WPP.conn.isRegistered(), false, 'registered');
  },
);

conformance.assert(
  { name: 'after the last code the page is idle', stage: 'linking', needs: ['far end', 'control'] },
  async ({ events, farEnd, equal, until, page }) => {
    await until('a code', currentCode);
    await farEnd.expire_qr();
    await events.next('conn.qrcode_idle');
    equal(
      [page('WAWebSocketModel').Socket.state, page('WAWebStreamModel').Stream.mode],
      ['UNPAIRED_IDLE', 'QR'],
      'state, mode',
    );
    equal(await WPP.conn.getAuthCode(), null, 'the code');
  },
);

conformance.assert(
  { name: 'an idle page wakes up on request', stage: 'linking', needs: ['control'] },
  async ({ events, page, until }) => {
    page('WAWebBackendEventBus').BackendEventBus.triggerRefreshQR();
    await events.next('conn.auth_code_change code');
    await until('the state UNPAIRED', () => page('WAWebSocketModel').Socket.state === 'UNPAIRED');
  },
);

conformance.assert(
  { name: 'a page that waits survives a lost line', stage: 'linking', needs: ['control'] },
  async ({ events, page, until }) => {
    const before = await until('a code', currentCode);
    page('WAWebSocketModel').Socket.reconnect();
    await events.next('conn.auth_code_change code', (code) => code.fullCode !== before);
  },
);

conformance.assert(
  { name: 'a pairing code has eight unmistakable characters', stage: 'linking' },
  async ({ ensure, people }) => {
    const code = await WPP.conn.genLinkDeviceCodeForPhoneNumber(people.me);
    ensure(/^[1-9A-HJ-NP-TV-Z]{8}$/.test(code), code);
  },
);

conformance.assert({ name: 'a pairing code needs a phone number', stage: 'linking' }, async ({ equal, refusal }) => {
  const error = await refusal(WPP.conn.genLinkDeviceCodeForPhoneNumber(''), 'a pairing code for nobody');
  equal(error.code, 'send_the_phone_number_to_connect', 'the code of the error');
});

conformance.assert(
  { name: 'a scan leads to the main mode, step by step', stage: 'linking', needs: ['far end'], patience: 6 },
  async ({ events, farEnd, people, until }) => {
    const code = await until('a code', currentCode);
    await farEnd.scan({ number: people.me, code });
    await events.next('conn.stream_mode_changed MAIN', undefined, 100_000);
    events.ensureOrder([
      'conn.backend_event socket_stream_disconnected',
      'conn.stream_mode_changed SYNCING',
      'conn.backend_event set_socket_state CONNECTED',
      'conn.backend_event open_socket_stream',
      'conn.backend_event offline_process_ready',
      'conn.backend_event main_stream_mode_ready',
      'conn.backend_event offline_delivery_end',
      'conn.backend_event app_state_sync_completed',
      'conn.backend_event on_critical_sync_done',
      'conn.stream_info_changed NORMAL',
      'conn.stream_mode_changed MAIN',
    ]);
  },
);
