import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownKey, parseKey, recipient, user, userOrNull } from '../src/ids';

test('a recipient is digits or an id of a person or a group', () => {
  const cases: [string, string | null][] = [
    ['4915112345678', '4915112345678@c.us'],
    ['+4915112345678', '4915112345678@c.us'],
    ['4915112345678@c.us', '4915112345678@c.us'],
    ['123@lid', '123@lid'],
    ['120363-42@g.us', '120363-42@g.us'],
    ['status@broadcast', null],
    ['123@newsletter', null],
    ['12', null],
    ['', null],
    ['a b@c.us', null],
    ['1@c.us@g.us', null],
  ];
  for (const [given, wanted] of cases) assert.equal(recipient(given), wanted, given);
});

test('a key is taken apart and put together', () => {
  const group = 'true_120363@g.us_3EB0AA_77@lid';
  const parts = parseKey(group);
  assert.deepEqual(parts, { fromMe: true, chat: '120363@g.us', id: '3EB0AA', participant: '77@lid' });
  assert.equal(ownKey('120363@g.us', '3EB0AA', '77@lid'), group);
  assert.equal(ownKey('77@lid', '3EB0AA', null), 'true_77@lid_3EB0AA');
  for (const bad of ['', 'true', 'maybe_77@lid_3EB0', 'true__3EB0', 'true_77@lid_', 'true_a_b_c_d']) {
    assert.equal(parseKey(bad), null, bad);
  }
});

test('the device part of an id goes away and nothing else', () => {
  assert.equal(user('4915:12@c.us'), '4915@c.us');
  assert.equal(user('4915@c.us'), '4915@c.us');
  assert.equal(userOrNull(undefined), null);
  assert.equal(userOrNull(null), null);
});
