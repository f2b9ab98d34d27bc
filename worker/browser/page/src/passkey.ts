// Linking with a passkey. WhatsApp Web asks the browser for an assertion, which only a device of the
// person can sign: the question is taken out of the page, as WebAuthn's own JSON, and the answer is
// handed back in the form in which a browser gives it. Nothing here can sign anything.
//
// https://www.w3.org/TR/webauthn-3/#sctn-parseRequestOptionsFromJSON and the two dictionaries beside it.

import { Failure } from './errors';
import type { Outbox } from './outbox';
import type { Assertion, PasskeyRequest } from './protocol';

/** What WhatsApp gives for an answer, if the page does not say. */
const USUAL_TIMEOUT_MS = 600_000;

interface Pending {
  challenge: string;
  allowed: string[];
  resolve(credential: Credential): void;
  reject(reason: unknown): void;
  timer: ReturnType<typeof setTimeout>;
}

type Get = (options?: CredentialRequestOptions) => Promise<Credential | null>;

export class Passkeys {
  readonly #pending = new Map<string, Pending>();
  /** A command that comes a second time says the same. */
  readonly #answered = new Set<string>();
  #asked = 0;

  constructor(readonly outbox: Outbox) {}

  /** From now on the page's requests for a passkey come here; all others go where they went. */
  install(container: { get: Get } | undefined = globalThis.CredentialsContainer?.prototype): void {
    if (container === undefined) return; // a page that is no secure context cannot ask either
    const ask = (publicKey: PublicKeyCredentialRequestOptions, signal?: AbortSignal) => this.ask(publicKey, signal);
    const inner = container.get;
    container.get = function get(this: CredentialsContainer, options?: CredentialRequestOptions) {
      return options?.publicKey ? ask(options.publicKey, options.signal) : inner.call(this, options);
    };
  }

  ask(options: PublicKeyCredentialRequestOptions, signal?: AbortSignal): Promise<Credential> {
    const life = Math.min(options.timeout ?? USUAL_TIMEOUT_MS, USUAL_TIMEOUT_MS);
    const request = toJson(options);
    const id = `${Date.now().toString(36)}-${++this.#asked}`;
    return new Promise<Credential>((resolve, reject) => {
      const end = (name: string, message: string): void => {
        if (this.#take(id) !== undefined) reject(new DOMException(message, name));
      };
      const timer = setTimeout(() => end('NotAllowedError', 'The operation either timed out or was not allowed.'), life);
      const allowed = (request.allowCredentials ?? []).map((credential) => credential.id);
      this.#pending.set(id, { challenge: request.challenge, allowed, resolve, reject, timer });
      signal?.addEventListener('abort', () => end('AbortError', 'The request was aborted.'));
      const expires_at = Math.floor((Date.now() + life) / 1000);
      this.outbox.push({ type: 'passkey', id, request, origin: location.origin, expires_at });
    });
  }

  /** Hands the person's answer to the page, or his refusal. */
  answer(id: string, assertion: Assertion | null): void {
    if (this.#answered.has(id)) return;
    const pending = this.#pending.get(id);
    if (pending === undefined) throw new Failure('no_such_request', 'WhatsApp does not wait for an answer to this request');
    if (assertion !== null) check(pending, assertion);
    this.#take(id);
    this.#answered.add(id);
    // Before anything that the page makes of it: whoever listens tells a refusal from a code that merely ran out.
    this.outbox.push({ type: 'passkey_answered' });
    if (assertion === null) pending.reject(new DOMException('The operation was not allowed.', 'NotAllowedError'));
    else pending.resolve(credential(assertion));
  }

  #take(id: string): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending !== undefined) clearTimeout(pending.timer);
    this.#pending.delete(id);
    return pending;
  }
}

/** What WhatsApp's server would refuse, refused with a reason. */
function check(pending: Pending, assertion: Assertion): void {
  let client: { type?: unknown; challenge?: unknown; origin?: unknown };
  try {
    client = JSON.parse(new TextDecoder().decode(bytes(assertion.response.clientDataJSON))) as typeof client;
  } catch {
    throw new Failure('bad_assertion', 'clientDataJSON is not base64url of JSON');
  }
  if (client.type !== 'webauthn.get') throw new Failure('bad_assertion', 'the answer is not that of a sign-in');
  if (client.challenge !== pending.challenge) throw new Failure('wrong_challenge', 'the answer is to another challenge');
  if (client.origin !== location.origin) {
    throw new Failure('wrong_origin', `the answer was made for another origin than ${location.origin}`);
  }
  if (pending.allowed.length > 0 && !pending.allowed.includes(assertion.id)) {
    throw new Failure('wrong_credential', 'the answer is by a passkey that WhatsApp did not ask for');
  }
}

function toJson(options: PublicKeyCredentialRequestOptions): PasskeyRequest {
  const { challenge, rpId, userVerification, timeout, allowCredentials } = options;
  return {
    challenge: base64url(challenge),
    ...(rpId !== undefined && { rpId }),
    ...(userVerification !== undefined && { userVerification }),
    ...(timeout !== undefined && { timeout }),
    ...(allowCredentials !== undefined && {
      allowCredentials: allowCredentials.map(({ id, type, transports }) => ({
        id: base64url(id),
        type,
        ...(transports !== undefined && { transports: [...transports] }),
      })),
    }),
  };
}

/** The object a browser would have given, down to what `instanceof` says. */
function credential(assertion: Assertion): Credential {
  const { response } = assertion;
  const values = (fields: Record<string, unknown>): PropertyDescriptorMap =>
    Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, { value, enumerable: true }]));
  const inner: unknown = Object.create(
    AuthenticatorAssertionResponse.prototype,
    values({
      clientDataJSON: bytes(response.clientDataJSON),
      authenticatorData: bytes(response.authenticatorData),
      signature: bytes(response.signature),
      userHandle: response.userHandle == null ? null : bytes(response.userHandle),
    }),
  );
  return Object.create(
    PublicKeyCredential.prototype,
    values({
      id: assertion.id,
      rawId: bytes(assertion.rawId),
      type: 'public-key',
      authenticatorAttachment: assertion.authenticatorAttachment ?? null,
      response: inner,
      getClientExtensionResults: () => assertion.clientExtensionResults ?? {},
      toJSON: () => assertion,
    }),
  ) as Credential;
}

export function base64url(source: BufferSource): string {
  const view = ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source);
  const text = Array.from(view, (byte) => String.fromCharCode(byte)).join('');
  return btoa(text).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}

export function bytes(text: string): ArrayBuffer {
  return Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (char) => char.charCodeAt(0)).buffer;
}
