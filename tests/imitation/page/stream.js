// The models in which the page shows its connection, and the bus on which its inner workings speak.
'use strict';

define('WAWebStreamModel', (exports) => {
  const { BaseModel } = use('WAWebBaseModel');
  exports.StreamMode = sameNames(
    'QR',
    'MAIN',
    'SYNCING',
    'OFFLINE',
    'CONFLICT',
    'PROXYBLOCK',
    'TOS_BLOCK',
    'SMB_TOS_BLOCK',
    'DEPRECATED_VERSION',
  );
  exports.StreamInfo = sameNames('OFFLINE', 'OPENING', 'PAIRING', 'SYNCING', 'RESUMING', 'CONNECTING', 'NORMAL');

  class StreamImpl extends BaseModel {
    static defaults = { mode: 'SYNCING', info: 'OPENING', available: false, needsUpdate: false };

    markAvailable() {
      this.#show(true);
    }

    markUnavailable() {
      this.#show(false);
    }

    #show(available) {
      this.set('available', available);
      use('PageSettings').set('available', '', available).catch(() => {}); // there is no line: nobody sees it
    }
  }
  exports.StreamImpl = StreamImpl;
  exports.Stream = new StreamImpl();
});

define('WAWebConnModel', (exports) => {
  const { BaseModel } = use('WAWebBaseModel');
  class ConnImpl extends BaseModel {
    static defaults = { ref: undefined, refTTL: undefined, connected: false, platform: undefined, isSMB: false };
  }
  exports.ConnImpl = ConnImpl;
  exports.Conn = new ConnImpl();
});

define('WAWebSocketModel', (exports) => {
  const { BaseModel } = use('WAWebBaseModel');
  class SocketImpl extends BaseModel {
    static defaults = { state: 'UNLAUNCHED', stream: 'DISCONNECTED', hasSynced: false };

    // Fire and forget: nothing announces the end except the return of the QR code.
    logout() {
      use('PageConnection').logOut();
    }

    // "Use here", after another window took over.
    takeover() {
      use('PageConnection').takeOver();
    }

    reconnect() {
      use('PageSocket').hangUp();
    }
  }
  exports.SocketImpl = SocketImpl;
  exports.Socket = new SocketImpl();
});

define('WAWebBackendEventBus', (exports) => {
  const EventEmitter = use('WAWebEventEmitter').default;
  exports.BackendEvent = {
    AB_PROPS_LOADED: 'ab_props_loaded',
    ACCOUNT_TEMPORARILY_BANNED: 'account_temporarily_banned',
    APP_STATE_SYNC_COMPLETED: 'app_state_sync_completed',
    LOGOUT: 'logout',
    MAIN_STREAM_MODE_READY: 'main_stream_mode_ready',
    OFFLINE_DELIVERY_END: 'offline_delivery_end',
    OFFLINE_PROCESS_READY: 'offline_process_ready',
    ON_CRITICAL_SYNC_DONE: 'on_critical_sync_done',
    OPEN_SOCKET_STREAM: 'open_socket_stream',
    REFRESH_QR: 'refresh_qr',
    SET_SOCKET_STATE: 'set_socket_state',
    SOCKET_STREAM_DISCONNECTED: 'socket_stream_disconnected',
    STARTING_LOGOUT: 'starting_logout',
  };
  class BackendEventBusImpl extends EventEmitter {
    triggerRefreshQR() {
      this.trigger(exports.BackendEvent.REFRESH_QR);
    }

    triggerSetSocketState(state) {
      this.trigger(exports.BackendEvent.SET_SOCKET_STATE, state);
    }
  }
  exports.BackendEventBus = new BackendEventBusImpl();
});

// What is left of the old command bus. The events `main_loaded` and `logout` and the calls `refreshQR` and `mainLoaded`
// moved away from it, so wa-js' users of them wait for ever; here too.
define('WAWebCmd', (exports) => {
  const EventEmitter = use('WAWebEventEmitter').default;
  class CmdImpl extends EventEmitter {
    async sendDeleteMsgs(chat, { list }) {
      for (const message of list) {
        chat.msgs.remove(message);
        use('WAWebMsgCollection').MsgCollection.remove(message);
      }
    }

    async sendRevokeMsgs(chat, { list }) {
      for (const message of list) {
        const target = use('PageTargets').name(message);
        const subtype = message.id.fromMe ? 'sender_revoke' : 'admin_revoke';
        const result = await use('PageOutbox').handIn(chat.id, 'protocol', '', { target, subtype });
        if (result === 'OK') await use('PageTargets').change(message.id, { type: 'revoked', body: undefined });
      }
    }

    // Whoever wants to know the end finds it among the promises of the chat.
    sendStarMsgs(chat, messages) {
      this.#star(chat, messages, true);
    }

    sendUnstarMsgs(chat, messages) {
      this.#star(chat, messages, false);
    }

    #star(chat, messages, star) {
      const work = async () => {
        for (const message of messages) {
          await use('PageSettings').set('star', message.id, star);
          await use('PageTargets').change(message.id, { star });
        }
      };
      chat.promises.sendStarMsgs = work();
    }

    async archiveChat(chat, archive) {
      await use('PageSettings').set('archive', chat.id, archive);
      chat.set('archive', archive);
      await use('PageChats').save(chat);
    }

    openChatAt() {}
  }
  exports.CmdImpl = CmdImpl;
  exports.Cmd = new CmdImpl();
});

define('WAWebNetworkStatus', (exports) => {
  const { BaseModel } = use('WAWebBaseModel');
  class NetworkStatusImpl extends BaseModel {
    static defaults = { online: true };

    async checkOnline() {
      return true;
    }
  }
  exports.default = new NetworkStatusImpl();
});
