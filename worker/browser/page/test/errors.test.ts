import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure, describe, isDuplicate, within } from '../src/errors';
import { Ownership } from '../src/ownership';

test('whatever is thrown becomes name, code and message', () => {
  const duplicate = new Error('');
  duplicate.name = 'DuplicateMessageError';
  const wpp = Object.assign(new Error('Chat not found for x'), { code: 'chat_not_found' });
  const cases: [unknown, unknown][] = [
    [wpp, { name: 'Error', code: 'chat_not_found', message: 'Chat not found for x' }],
    [duplicate, { name: 'DuplicateMessageError', code: null, message: 'DuplicateMessageError' }],
    [{ error: true, code: 'media_not_found' }, { name: 'Error', code: 'media_not_found', message: 'media_not_found' }],
    ['text', { name: 'Error', code: null, message: 'text' }],
    [undefined, { name: 'Error', code: null, message: 'undefined' }],
    [null, { name: 'Error', code: null, message: 'null' }],
    [new Error('Chat not found for 4915112345678@c.us'), { name: 'Error', code: null, message: 'Chat not found for …@c.us' }],
    [{}, { name: 'Error', code: null, message: 'unknown' }],
    [{ code: 7, name: {}, message: [] }, { name: 'Error', code: null, message: 'unknown' }],
    [new Failure('no_such_number', 'no'), { name: 'Failure', code: 'no_such_number', message: 'no' }],
  ];
  for (const [thrown, wanted] of cases) assert.deepEqual(describe(thrown), wanted);
  assert.ok(isDuplicate(duplicate) && !isDuplicate(wpp));
  assert.equal(describe(new Error('x'.repeat(10_000))).message.length, 500);
});

test('a promise that never settles ends in a timeout', async () => {
  await assert.rejects(within(5, new Promise(() => {})), { name: 'Timeout', code: 'timeout' });
  assert.equal(await within(1000, Promise.resolve(7)), 7);
  await assert.rejects(within(1000, Promise.reject(new Error('own'))), { message: 'own' });
});

test('sending ends with ownership and goes on with a later word', () => {
  let now = 100;
  const ownership = new Ownership(110, () => now);
  ownership.assert();
  now = 111;
  assert.throws(() => ownership.assert(), { code: 'not_owner', name: 'NotOwner' });
  ownership.until = 105;
  assert.throws(() => ownership.assert(), { code: 'not_owner' }, 'a word that was late on its way extends nothing');
  ownership.until = Number.NaN;
  assert.throws(() => ownership.assert(), { code: 'not_owner' });
  ownership.until = 120;
  ownership.assert();
});
