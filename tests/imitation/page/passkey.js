// Linking with a passkey: the page asks the browser, and the cloud judges the answer.
//
// How the real page asks is not known in detail; that it calls `navigator.credentials.get` is, and this is a call as
// strict about its answer as a browser's own objects allow.
'use strict';

define('PagePasskey', () => {
  const connection = use('PageConnection');
  const socket = use('PageSocket');
  const { Stream } = use('WAWebStreamModel');
  const { Conn } = use('WAWebConnModel');

  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, '-')
      .replace(/\//g, '_')
      .replace(/=+$/, '');

  connection.on('passkey', ({ challenge, relying_party, credential, timeout }) => {
    Conn.set('ref', undefined);
    Stream.set('mode', 'SYNCING');
    // Not awaited: the cloud may say more while the person looks for his phone.
    ask(challenge, relying_party, credential, timeout).then(
      (assertion) => socket.say({ t: 'passkey', assertion, origin: location.origin }),
      (error) => {
        console.warn('no passkey', error.name);
        socket.say({ t: 'passkey', assertion: null, origin: location.origin });
      },
    );
  });

  async function ask(challenge, rpId, credential, timeout) {
    const given = await navigator.credentials.get({
      publicKey: {
        challenge: bytes(challenge),
        rpId,
        timeout,
        userVerification: 'required',
        allowCredentials: [{ id: bytes(credential), type: 'public-key' }],
      },
    });
    const { response } = given;
    if (!(given instanceof PublicKeyCredential) || !(response instanceof AuthenticatorAssertionResponse)) {
      throw new TypeError('this is no assertion');
    }
    return {
      id: text(given.rawId),
      response: {
        clientDataJSON: text(response.clientDataJSON),
        authenticatorData: text(response.authenticatorData),
        signature: text(response.signature),
      },
    };
  }
});
