// Media: preparing a file, encrypting it, the media server, and getting a received one back. The bytes on the media server
// are encrypted as the real page does it, with a key that travels inside the message only.
'use strict';

define('WAWebMediaOpaqueData', (exports) => {
  class OpaqueData {
    #blob;

    constructor(blob) {
      this.#blob = blob;
    }

    static async createFromData(data, mimetype) {
      return new OpaqueData(data instanceof Blob ? data : new Blob([data], { type: mimetype }));
    }

    throwIfReleased() {
      if (!this.#blob) throw new Error('OpaqueData released');
    }

    type() {
      this.throwIfReleased();
      return this.#blob.type;
    }

    forceToBlob() {
      this.throwIfReleased();
      return this.#blob;
    }

    release() {
      this.#blob = null;
    }
  }
  exports.default = OpaqueData;
});

define('PageMediaCrypto', (exports) => {
  const INFO = { image: 'Image', sticker: 'Image', video: 'Video', ptv: 'Video', audio: 'Audio', ptt: 'Audio', document: 'Document' };
  const { subtle } = crypto;
  const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const textOf = (bytes) => {
    let text = '';
    for (const byte of new Uint8Array(bytes)) text += String.fromCharCode(byte);
    return btoa(text);
  };
  const sha256 = async (bytes) => textOf(await subtle.digest('SHA-256', bytes));
  const MAC = 10;

  const keysOf = async (mediaKey, type) => {
    const info = new TextEncoder().encode(`WhatsApp ${INFO[type]} Keys`);
    const origin = await subtle.importKey('raw', mediaKey, 'HKDF', false, ['deriveBits']);
    const bits = await subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(32), info }, origin, 112 * 8);
    const iv = bits.slice(0, 16);
    const cipher = await subtle.importKey('raw', bits.slice(16, 48), 'AES-CBC', false, ['encrypt', 'decrypt']);
    const mac = await subtle.importKey('raw', bits.slice(48, 80), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
    return { iv, cipher, mac };
  };
  const macOf = async ({ iv, mac }, sealed) => {
    const tag = await subtle.sign('HMAC', mac, await new Blob([iv, sealed]).arrayBuffer());
    return tag.slice(0, MAC);
  };

  exports.seal = async (blob, type) => {
    const mediaKey = crypto.getRandomValues(new Uint8Array(32));
    const keys = await keysOf(mediaKey, type);
    const plain = await blob.arrayBuffer();
    const sealed = await subtle.encrypt({ name: 'AES-CBC', iv: keys.iv }, keys.cipher, plain);
    const file = await new Blob([sealed, await macOf(keys, sealed)]).arrayBuffer();
    return { mediaKey: textOf(mediaKey), filehash: await sha256(plain), encFilehash: await sha256(file), file };
  };

  exports.open = async (file, { mediaKey, filehash }, type) => {
    const keys = await keysOf(bytesOf(mediaKey), type);
    const sealed = file.slice(0, file.byteLength - MAC);
    if (textOf(await macOf(keys, sealed)) !== textOf(file.slice(-MAC))) throw new Error('the hmac of the media does not fit');
    const plain = await subtle.decrypt({ name: 'AES-CBC', iv: keys.iv }, keys.cipher, sealed);
    if ((await sha256(plain)) !== filehash) throw new Error('the hash of the media does not fit');
    return plain;
  };

  exports.pathOf = (encFilehash) => encFilehash.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
});

// What a message knows of its file.
define('PageMediaData', (exports) => {
  const TYPES = new Set(['image', 'video', 'ptv', 'audio', 'ptt', 'document', 'sticker']);

  exports.attach = (message) => {
    if (message.mediaData || !TYPES.has(message.type)) return;
    message.mediaData = { mediaStage: 'INIT', mediaBlob: null };
    // What becomes known of the file later, after its upload, is known here too.
    for (const name of ['type', 'mimetype', 'filehash', 'size']) {
      Object.defineProperty(message.mediaData, name, { enumerable: true, get: () => message[name] });
    }
  };

  exports.download = async (message) => {
    const { InMemoryMediaBlobCache } = use('WAWebMediaInMemoryBlobCache');
    const data = message.mediaData;
    data.mediaStage = 'FETCHING';
    const answer = await fetch(message.directPath);
    if (!answer.ok) {
      data.mediaStage = 'ERROR_MISSING';
      throw new Error(`the media server answers ${answer.status}`);
    }
    const plain = await use('PageMediaCrypto').open(await answer.arrayBuffer(), message, message.type);
    InMemoryMediaBlobCache.put(message.filehash, new Blob([plain], { type: message.mimetype }));
    data.mediaStage = 'RESOLVED';
  };
});

define('WAWebMediaMmsV4Upload', (exports) => {
  const ROUTES = { ptt: 'audio', ptv: 'video', sticker: 'image' };

  // Asks first whether the server has the file already, as the real page does.
  exports.uploadMedia = async ({ mediaType, file, encFilehash }) => {
    const path = use('PageMediaCrypto').pathOf(encFilehash);
    const url = `/mms/${ROUTES[mediaType] ?? mediaType}/${path}`;
    const known = await fetch(`${url}?resume=1`, { method: 'POST' });
    if (!known.ok) throw new Error(`the media server answers ${known.status}`);
    const { resume } = await known.json();
    if (resume === 'complete') return { directPath: url };
    const answer = await fetch(url, { method: 'POST', body: file });
    if (!answer.ok) throw new Error(`the media server answers ${answer.status}`);
    return { directPath: (await answer.json()).direct_path };
  };
});

define('WAWebMedia', (exports) => {
  const typeOf = (mimetype, { asDocument, asSticker, isPtt }) => {
    if (asDocument) return 'document';
    if (asSticker) return 'sticker';
    const [family] = mimetype.split('/');
    if (family === 'audio') return isPtt ? 'ptt' : 'audio';
    return family === 'image' || family === 'video' ? family : 'document';
  };

  class MediaPrep {
    constructor(opaque, options) {
      this.opaque = opaque;
      this.mediaData = { type: typeOf(opaque.type(), options), mimetype: opaque.type(), mediaStage: 'PREPARING' };
      this.prep = this.prepare();
      this.prep.catch(() => {});
    }

    // A picture is decoded, as on the real page: what is none fails here.
    async prepare() {
      const blob = this.opaque.forceToBlob();
      this.mediaData.size = blob.size;
      if (this.mediaData.type !== 'image' && this.mediaData.type !== 'sticker') return;
      const { width, height } = await createImageBitmap(blob);
      Object.assign(this.mediaData, { width, height });
    }

    async waitForPrep() {
      await this.prep;
    }

    // The message is shown at once, its file uploaded, and only then it is stored and handed over.
    async sendToChat({ chat, options }) {
      const { type, mimetype, size, width, height } = this.mediaData;
      const raw = options.productMsgOptions ?? {};
      const values = { ...raw, caption: options.caption, isViewOnce: options.isViewOnce, type, mimetype, size, width, height };
      if (type !== 'document') delete values.filename;
      // A message that is in the table already is never shown again, and who waits for it waits for ever.
      if (await use('PageStorage').get('message', String(values.id))) return new Promise(() => {});
      const message = use('PageMessages').show(chat, values);
      try {
        const { file, ...sealed } = await use('PageMediaCrypto').seal(this.opaque.forceToBlob(), type);
        const upload = { mediaType: type, file, encFilehash: sealed.encFilehash };
        const { directPath } = await use('WAWebMediaMmsV4Upload').uploadMedia(upload);
        message.set({ ...sealed, directPath });
      } catch {
        message.set('ack', -1);
        chat.msgs.remove(message.id);
        use('WAWebMsgCollection').MsgCollection.remove(message.id);
        return { messageSendResult: 'ERROR_UPLOAD' };
      }
      await use('PageOutbox').store(chat, message.attributes);
      return use('PageOutbox').transmit(message);
    }
  }
  exports.MediaPrep = MediaPrep;
  exports.prepRawMedia = (opaque, options) => new MediaPrep(opaque, options);
  exports.uploadProductImage = async () => {
    throw new Error('this account has no catalogue');
  };
});
