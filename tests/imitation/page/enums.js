// Constants under the names the real page gives them.
'use strict';

const defineEnum = (id, name, values) => define(id, (exports) => (exports[name] = Object.freeze(values)));
const sameNames = (...names) => Object.fromEntries(names.map((name) => [name, name]));

define('WAWebSocketConstants', (exports) => {
  exports.SOCKET_STATE = sameNames(
    'CONFLICT',
    'CONNECTED',
    'DEPRECATED_VERSION',
    'OPENING',
    'PAIRING',
    'PROXYBLOCK',
    'SMB_TOS_BLOCK',
    'TIMEOUT',
    'TOS_BLOCK',
    'UNLAUNCHED',
    'UNPAIRED',
    'UNPAIRED_IDLE',
  );
  exports.SOCKET_STREAM = sameNames('CONNECTED', 'DISCONNECTED', 'RESUMING', 'SYNCING');
  exports.WATCHED_SOCKET_STATE = exports.SOCKET_STATE;
});

define('WAWebAck', (exports) => {
  exports.ACK = {
    MD_DOWNGRADE: -7,
    INACTIVE: -6,
    CONTENT_UNUPLOADABLE: -5,
    CONTENT_TOO_BIG: -4,
    CONTENT_GONE: -3,
    EXPIRED: -2,
    FAILED: -1,
    CLOCK: 0,
    SENT: 1,
    RECEIVED: 2,
    READ: 3,
    PLAYED: 4,
    PEER: 5,
  };
  exports.ACK_STRING = { SENDER: 'sender', DELIVERY: 'delivery', READ: 'read', PLAYED: 'played', INACTIVE: 'inactive' };
  exports.EDIT_ATTR = { MESSAGE_EDIT: 1, PIN_IN_CHAT: 2, SENDER_REVOKE: 7, ADMIN_REVOKE: 8 };
});

define('WAWebMsgType', (exports) => {
  exports.MSG_TYPE = {
    CHAT: 'chat',
    IMAGE: 'image',
    VIDEO: 'video',
    AUDIO: 'audio',
    PTT: 'ptt',
    DOCUMENT: 'document',
    STICKER: 'sticker',
    LOCATION: 'location',
    VCARD: 'vcard',
    REVOKED: 'revoked',
    CIPHERTEXT: 'ciphertext',
    PROTOCOL: 'protocol',
    CALL_LOG: 'call_log',
    E2E_NOTIFICATION: 'e2e_notification',
    NOTIFICATION_TEMPLATE: 'notification_template',
    GP2: 'gp2',
  };
  exports.SYSTEM_MESSAGE_TYPES = { E2E_NOTIFICATION: 'e2e_notification', GP2: 'gp2' };
});

defineEnum(
  'WAWebSendMsgResultAction',
  'SendMsgResult',
  sameNames('OK', 'ERROR_NETWORK', 'ERROR_EXPIRED', 'ERROR_CANCELLED', 'ERROR_UPLOAD', 'ERROR_UNKNOWN'),
);
defineEnum('WAWebVoipWaCallEnums', 'CallState', { None: 0, Calling: 1, ReceivedCall: 3, CallActive: 6 });
defineEnum('WAWebPinMsgConstants', 'PIN_STATE', { INVALID: 0, PIN: 1, UNPIN: 2 });
defineEnum(
  'WAWebPinExpiryConstants',
  'PinExpiryDurationOption',
  sameNames('FiveSeconds', 'FifteenSeconds', 'OneMinute', 'OneDay', 'SevenDays', 'ThirtyDays'),
);
defineEnum('WAWebNonJidMentionType', 'default', { MENTION_ALL: 1 });
defineEnum('WAWebMediaTypes', 'OUTWARD_TYPES', sameNames('IMAGE', 'VIDEO', 'AUDIO', 'DOCUMENT', 'STICKER'));
defineEnum('WAWebGroupConstants', 'GROUP_SETTING_TYPE', sameNames('ANNOUNCEMENT', 'RESTRICT', 'EPHEMERAL'));
defineEnum('WAWebServerPropConstants', 'MAX_FILE_SIZE_BYTES', 100_000_000);

define('WAWebLogoutReasonConstants', (exports) => {
  exports.LogoutReason = { UserInitiated: 'user_initiated', UnknownCompanion: 'unknown_companion' };
  exports.LOGOUT_REASON_CODE = { CLIENT_FATAL: 0, SYNC_FAIL: 1, INITIAL_HISTORY_SYNC_TIMEOUT: 2, ACCOUNT_LOCKED: 3 };
});
