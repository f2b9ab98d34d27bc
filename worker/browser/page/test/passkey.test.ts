import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Outbox } from '../src/outbox';
import { Passkeys, base64url, bytes } from '../src/passkey';
import type { Assertion, Event } from '../src/protocol';

const ORIGIN = 'https://web.example';

// What a browser has and Node.js has not.
class Base {}
Object.assign(globalThis, {
  PublicKeyCredential: class extends Base {},
  AuthenticatorAssertionResponse: class extends Base {},
  location: { origin: ORIGIN },
});

const text = (value: unknown): string => base64url(new TextEncoder().encode(JSON.stringify(value)));

function asked(allowed?: string[], signal?: AbortSignal) {
  const told: Event[] = [];
  const passkeys = new Passkeys({ push: (event: Event) => told.push(event) } as unknown as Outbox);
  const challenge = bytes('q83vASNFZ4mrze8BI0VniQ');
  const allowCredentials = allowed?.map((id) => ({ id: bytes(id), type: 'public-key' as const }));
  const given = passkeys.ask({ challenge, rpId: 'whatsapp.com', timeout: 60_000, ...(allowCredentials && { allowCredentials }) }, signal);
  const event = told[0];
  assert(event?.type === 'passkey');
  return { passkeys, given, event };
}

function assertion(client: Record<string, unknown>, id = 'AAAA'): Assertion {
  const clientDataJSON = text({ type: 'webauthn.get', challenge: 'q83vASNFZ4mrze8BI0VniQ', origin: ORIGIN, ...client });
  return { id, rawId: id, type: 'public-key', response: { clientDataJSON, authenticatorData: 'AQID', signature: 'BAUG' } };
}

test('a request comes out as WebAuthn JSON, and its answer goes in as what a browser gives', async () => {
  const { passkeys, given, event } = asked(['AAAA', 'BBBB']);
  assert.equal(event.origin, ORIGIN);
  assert.deepEqual(event.request, {
    challenge: 'q83vASNFZ4mrze8BI0VniQ',
    rpId: 'whatsapp.com',
    timeout: 60_000,
    allowCredentials: [{ id: 'AAAA', type: 'public-key' }, { id: 'BBBB', type: 'public-key' }],
  });
  passkeys.answer(event.id, assertion({}));
  const credential = (await given) as PublicKeyCredential;
  assert(credential instanceof PublicKeyCredential);
  assert(credential.response instanceof AuthenticatorAssertionResponse);
  assert.equal(base64url(credential.rawId), 'AAAA');
  assert.equal(base64url(credential.response.signature), 'BAUG');
  assert.deepEqual(credential.getClientExtensionResults(), {});
  passkeys.answer(event.id, assertion({})); // the command came a second time
});

test('an answer that the server would refuse is refused with its reason, and the request stays open', async () => {
  const { passkeys, given, event } = asked(['AAAA']);
  const cases: [Assertion, string][] = [
    [assertion({ challenge: 'AAAA' }), 'wrong_challenge'],
    [assertion({ origin: 'https://evil.example' }), 'wrong_origin'],
    [assertion({ type: 'webauthn.create' }), 'bad_assertion'],
    [assertion({}, 'CCCC'), 'wrong_credential'],
    [{ ...assertion({}), response: { clientDataJSON: 'AAAA', authenticatorData: '', signature: '' } }, 'bad_assertion'],
  ];
  for (const [wrong, code] of cases) assert.throws(() => passkeys.answer(event.id, wrong), { code });
  assert.throws(() => passkeys.answer('another', assertion({})), { code: 'no_such_request' });
  passkeys.answer(event.id, assertion({}));
  await given;
});

test('a declined or aborted request ends as a browser ends it', async () => {
  const declined = asked();
  declined.passkeys.answer(declined.event.id, null);
  await assert.rejects(declined.given, { name: 'NotAllowedError' });
  const abort = new AbortController();
  const aborted = asked(undefined, abort.signal);
  abort.abort();
  await assert.rejects(aborted.given, { name: 'AbortError' });
  assert.throws(() => aborted.passkeys.answer(aborted.event.id, assertion({})), { code: 'no_such_request' });
});

test('only requests for a passkey are taken out of the page', async () => {
  const passkeys = new Passkeys({ push: () => undefined } as unknown as Outbox);
  const container = { get: async () => null as Credential | null };
  passkeys.install(container);
  assert.equal(await (container.get as (options?: CredentialRequestOptions) => Promise<Credential | null>)({}), null);
});
