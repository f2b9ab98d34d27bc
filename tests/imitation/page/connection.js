// The life of the connection. What it shows of itself is in stream.js.
//
//            ┌────────────────────── redial ───────────────────────┐
//  OPENING ──┴─▶ PAIRING ──no session──▶ UNPAIRED ⇄ UNPAIRED_IDLE  │   mode QR      (linking.js)
//                   └──────session─────▶ CONNECTED ──line lost─────┘   mode SYNCING, then MAIN
//                                            └──replaced──▶ CONFLICT   mode CONFLICT
//
// `Stream.mode` stays MAIN across a lost line; `Stream.info` tells the difference.
'use strict';

define('PageConnection', (exports) => {
  const socket = use('PageSocket');
  const identity = use('PageIdentity');
  const { Stream } = use('WAWebStreamModel');
  const { Conn } = use('WAWebConnModel');
  const { Socket } = use('WAWebSocketModel');
  const { BackendEventBus, BackendEvent } = use('WAWebBackendEventBus');
  const LONGEST_REDIAL_MS = 5_000;

  const handlers = new Map();
  let redialMs = pageOptions.redial_ms;
  // What to do when the line ends; anything but `redial` is set by whoever ends it.
  let afterwards = redial;

  // The bus announces a state first; the model follows because it listens.
  BackendEventBus.on(BackendEvent.SET_SOCKET_STATE, (state) => Socket.set('state', state));
  const setSocketState = (state) => {
    if (Socket.state !== state) BackendEventBus.triggerSetSocketState(state);
  };
  exports.setSocketState = setSocketState;

  // Handlers for frames that belong to other parts of the page.
  exports.on = (kind, handler) => handlers.set(kind, handler);

  exports.start = async () => {
    Stream.set({ mode: identity.isRegistered() ? 'SYNCING' : 'QR', info: 'OPENING' });
    await pause(pageOptions.before_socket_ms);
    dial();
  };

  function dial() {
    setSocketState('OPENING');
    Stream.set('info', 'OPENING');
    afterwards = redial;
    let work = Promise.resolve();
    socket.dial({
      opened() {
        setSocketState('PAIRING');
        Stream.set('info', identity.isRegistered() ? 'RESUMING' : 'PAIRING');
        if (identity.isRegistered()) BackendEventBus.trigger(BackendEvent.AB_PROPS_LOADED);
        socket.say({ t: 'hello', keys: identity.publicKeys(), secret: identity.secret() });
      },
      // One frame after the other: storing a message must not be overtaken by its receipt.
      heard(frame) {
        work = work
          .then(() => handlers.get(frame.t)?.(frame))
          .catch((error) => console.error(`the frame ${frame.t} could not be handled`, error));
      },
      ended(wasOpen) {
        Socket.set('stream', 'DISCONNECTED');
        Conn.set('connected', false);
        if (wasOpen) BackendEventBus.trigger(BackendEvent.SOCKET_STREAM_DISCONNECTED);
        work = work.then(afterwards);
      },
    });
  }

  async function redial() {
    setSocketState('OPENING');
    Stream.set('info', 'OPENING');
    await pause(redialMs);
    redialMs = Math.min(redialMs * 2, LONGEST_REDIAL_MS);
    dial();
  }

  // After linking: the same page logs in with its new credentials (stream error 515).
  async function restart() {
    Stream.set('mode', 'SYNCING');
    dial();
  }

  // The device was removed. Nothing says so but the loss of registration, at once, and the QR code, much later.
  async function startOver() {
    Stream.set({ mode: 'SYNCING', available: false });
    Socket.set('hasSynced', false);
    use('WAWebChatCollection').ChatCollection.reset();
    use('WAWebMsgCollection').MsgCollection.reset();
    await pause(pageOptions.qr_after_logout_ms);
    dial();
  }

  // Ends the line and then does this instead of redialling.
  const endWith = (deed) => {
    afterwards = deed;
    socket.hangUp();
  };
  exports.endWith = endWith;
  exports.dial = dial;

  exports.takeOver = () => {
    if (Socket.state === 'CONFLICT') restart();
  };

  exports.logOut = async () => {
    await socket.request('logout', {}).catch(() => {});
  };

  exports.on('success', async ({ me, address_book, groups, labels, restriction }) => {
    redialMs = pageOptions.redial_ms;
    Conn.set({ platform: me.platform, isSMB: me.platform === 'smba', pushname: me.name, connected: true });
    setSocketState('CONNECTED');
    Socket.set('stream', 'CONNECTED');
    BackendEventBus.trigger(BackendEvent.OPEN_SOCKET_STREAM);
    await use('PageBoot').restoreOnce();
    await use('PageContacts').learn(me, address_book);
    for (const group of groups) await use('PageGroups').learn(group);
    await use('PageLabels').learn(labels);
    use('PageRestriction').set(restriction);
    BackendEventBus.trigger(BackendEvent.OFFLINE_PROCESS_READY);
    BackendEventBus.trigger(BackendEvent.MAIN_STREAM_MODE_READY);
  });

  exports.on('offline_end', async () => {
    BackendEventBus.trigger(BackendEvent.OFFLINE_DELIVERY_END);
    if (Stream.mode !== 'MAIN') {
      await pause(pageOptions.syncing_ms);
      BackendEventBus.trigger(BackendEvent.APP_STATE_SYNC_COMPLETED);
      BackendEventBus.trigger(BackendEvent.ON_CRITICAL_SYNC_DONE);
      Socket.set('hasSynced', true);
    }
    Stream.set('info', 'NORMAL');
    Stream.set({ mode: 'MAIN', available: true });
    use('PageOutbox').sendPending();
  });

  exports.on('stream_error', async ({ code }) => {
    if (code === 515) {
      endWith(restart);
    } else if (code === 440) {
      endWith(() => {
        setSocketState('CONFLICT');
        Stream.set('mode', 'CONFLICT');
      });
    } else if (code === 401) {
      await identity.forget();
      endWith(startOver);
    }
  });

  exports.on('failure', async ({ code, ban }) => {
    if (code === 401) {
      await identity.forget();
      endWith(startOver);
    } else if (code === 402) {
      BackendEventBus.trigger(BackendEvent.ACCOUNT_TEMPORARILY_BANNED, { code: ban.reason, expiresIn: ban.seconds });
      endWith(async () => {
        await pause(ban.seconds * 1000);
        dial();
      });
    }
  });
});
