// Ids: of people, groups and devices (Wid), and of messages (MsgKey).
'use strict';

define('WARandomHex', (exports) => {
  exports.randomHex = (bytes) =>
    Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, '0'))
      .join('')
      .toUpperCase();
});

define('WABase64', (exports) => {
  exports.encodeB64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
  exports.decodeB64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
});

define('WATimeUtils', (exports) => {
  exports.unixTime = () => Math.floor(Date.now() / 1000);
  exports.unixTimeMs = () => Date.now();
});

define('WAWebWid', (exports) => {
  const USER_SERVERS = ['c.us', 'lid', 'bot'];

  class Wid {
    constructor(user, server, device) {
      this.user = user;
      this.server = server;
      if (device) this.device = device;
      this._serialized = `${user}${device ? `:${device}` : ''}@${server}`;
    }

    toString() {
      return this._serialized;
    }

    toJSON() {
      return this._serialized;
    }

    toJid() {
      return this._serialized.replace('@c.us', '@s.whatsapp.net');
    }

    equals(other) {
      return other != null && String(other) === this._serialized;
    }

    isSameAccount(other) {
      return other != null && other.user === this.user && other.server === this.server;
    }

    getDeviceId() {
      return this.device ?? 0;
    }

    isUser() {
      return USER_SERVERS.includes(this.server);
    }

    isRegularUser() {
      return this.server === 'c.us' || this.server === 'lid';
    }

    isRegularUserPn() {
      return this.server === 'c.us';
    }

    isUserNotPSA() {
      return this.isUser() && !this.isPSA();
    }

    isLid() {
      return this.server === 'lid';
    }

    isGroup() {
      return this.server === 'g.us';
    }

    isBroadcast() {
      return this.server === 'broadcast';
    }

    isStatus() {
      return this._serialized === 'status@broadcast';
    }

    isStatusV3() {
      return this.isStatus();
    }

    isNewsletter() {
      return this.server === 'newsletter';
    }

    isBot() {
      return this.server === 'bot';
    }

    isPSA() {
      return this._serialized === '0@c.us';
    }

    isServer() {
      return this._serialized === 'server@c.us';
    }

    isCompanion() {
      return this.getDeviceId() !== 0;
    }

    isGroupCall() {
      return this.server === 'call';
    }

    isOfficialBizAccount() {
      return false;
    }

    static isXWid(server, id) {
      return id != null && String(id).endsWith(`@${server}`);
    }

    static isWid(id) {
      return id instanceof Wid || /@/.test(String(id));
    }

    static isUser(id) {
      return USER_SERVERS.some((server) => Wid.isXWid(server, id));
    }

    static isGroup(id) {
      return Wid.isXWid('g.us', id);
    }

    static isLid(id) {
      return Wid.isXWid('lid', id);
    }

    static isStatusV3(id) {
      return String(id) === 'status@broadcast';
    }

    static equals(one, other) {
      return String(one) === String(other);
    }
  }

  exports.default = Wid;
});

define('WAWebWidFactory', (exports) => {
  const Wid = use('WAWebWid').default;
  const known = new Map();

  // One object per id, so that wids can be compared by identity too.
  const createWid = (id) => {
    if (id instanceof Wid) return id;
    const text = String(id).replace('@s.whatsapp.net', '@c.us');
    if (!known.has(text)) {
      const parts = /^([^@:]+)(?::(\d+))?@([a-z.]+)$/.exec(text);
      if (!parts) throw new Error('wid error: invalid wid');
      known.set(text, new Wid(parts[1], parts[3], Number(parts[2] ?? 0)));
    }
    return known.get(text);
  };
  const createUserWid = (user, server = 'c.us') => createWid(user.includes('@') ? user : `${user}@${server}`);
  const toUserWid = (wid) => createWid(`${wid.user}@${wid.server}`);

  Object.assign(exports, {
    createWid,
    createUserWid,
    createUserWidOrThrow: createUserWid,
    createDeviceWid: createWid,
    createWidFromWidLike: (like) => createWid(like._serialized ?? like),
    toUserWid,
    toUserWidOrThrow: toUserWid,
    toChatWid: toUserWid,
    asUserWidOrThrow: toUserWid,
    toUserLidOrThrow: (wid) => use('WAWebLidMigrationUtils').toUserLidOrThrow(wid),
    isWidlike: (like) =>
      like instanceof Wid || (typeof like?._serialized === 'string' && typeof like.server === 'string'),
  });
});

define('WAWebMsgKey', (exports) => {
  const { createWid } = use('WAWebWidFactory');

  // `true_<chat>_<id>` for own messages, `false_…` for others', and in groups the author as a fourth part.
  // The serialized form lives in a property with a minified name, as on the real page; wa-js moves it to `_serialized`
  // when it first sees this class, so whoever reads `_serialized` of an older key finds nothing.
  class MsgKey {
    constructor(parts) {
      if (!parts) throw new Error('MsgKey error: obj is null/undefined');
      if (parts.from && parts.to) {
        this.fromMe = parts.selfDir ? parts.selfDir === 'out' : use('WAWebUserPrefsMeUser').isMeAccount(parts.from);
        this.remote = createWid(this.fromMe ? parts.to : parts.from);
      } else {
        this.fromMe = parts.fromMe;
        this.remote = createWid(parts.remote);
      }
      this.id = parts.id;
      if (parts.participant) this.participant = createWid(parts.participant);
      const author = this.participant ? `_${this.participant}` : '';
      this.$1 = `${this.fromMe}_${this.remote}_${this.id}${author}`;
    }

    toString() {
      return this.$1;
    }

    equals(other) {
      return other != null && String(other) === this.toString();
    }

    clone() {
      return new MsgKey(this);
    }

    static fromString(text) {
      if (text instanceof MsgKey) return text;
      const [fromMe, remote, id, participant] = String(text).split('_');
      if (!id) throw new Error(`MsgKey error: cannot create MsgKey from ${text}`);
      return new MsgKey({ fromMe: fromMe === 'true', remote, id, participant });
    }

    static from(parts) {
      return parts instanceof MsgKey ? parts : new MsgKey(parts);
    }

    static async newId() {
      return `3EB0${use('WARandomHex').randomHex(9)}`;
    }
  }

  exports.default = MsgKey;
});
