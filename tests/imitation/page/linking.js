// Being linked to a phone: by QR code or by pairing code.
'use strict';

define('PageLinking', () => {
  const connection = use('PageConnection');
  const socket = use('PageSocket');
  const identity = use('PageIdentity');
  const { Stream } = use('WAWebStreamModel');
  const { Conn } = use('WAWebConnModel');
  const { BackendEventBus, BackendEvent } = use('WAWebBackendEventBus');

  connection.on('qr', ({ reference }) => {
    Stream.set('mode', 'QR');
    connection.setSocketState('UNPAIRED');
    Conn.set('ref', reference);
  });

  connection.on('qr_idle', () => {
    connection.setSocketState('UNPAIRED_IDLE');
    Conn.set('ref', undefined);
  });

  connection.on('paired', async ({ me, secret }) => {
    await identity.adopt(me, secret);
    Conn.set('ref', undefined);
    socket.say({ t: 'device_signed' });
  });

  // A new code comes with a new connection; the button on the idle page does the same.
  BackendEventBus.on(BackendEvent.REFRESH_QR, () => {
    if (identity.isRegistered()) return;
    connection.endWith(async () => {
      await pause(pageOptions.qr_refresh_ms);
      connection.dial();
    });
  });

  // The picture of the code, for people who look at the page: its text stands beside it for those who cannot.
  Conn.on('change:ref', () => draw());
  Stream.on('change:mode', () => draw());
  const draw = () => {
    const canvas = document.querySelector('canvas');
    const shown = Stream.mode === 'QR' && Boolean(Conn.ref);
    canvas.hidden = !shown;
    canvas.setAttribute('aria-label', shown ? 'Scan this QR code to link a device!' : '');
    canvas.parentElement.dataset.ref = shown ? Conn.ref : '';
    document.getElementById('mode').textContent = Stream.mode;
  };
});

define('WAWebAltDeviceLinkingApi', (exports) => {
  exports.initializeAltDeviceLinking = async () => {};
  exports.refreshAltLinkingCode = async () => {};
});

define('WAWebLinkDeviceAction', (exports) => {
  exports.genLinkDeviceCodeForPhoneNumber = async (phone) => {
    const { code } = await use('PageSocket').request('link_code', { phone: phone.replace(/\D/g, '') });
    return code;
  };
});

define('WAWebLinkDeviceEvents', (exports) => {
  const EventEmitter = use('WAWebEventEmitter').default;
  class LinkDeviceEvents extends EventEmitter {
    triggerRefreshAltLinkingCode() {
      this.trigger('link_device_events:refresh_alt_linking_code');
    }
  }
  exports.WAWebLinkDeviceEvents = new LinkDeviceEvents();
});
