import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forwarded } from '../src/content';
import type { MsgModel } from '../src/store';

const model = (values: object) => values as unknown as MsgModel;

test('what is passed on says the same, is marked, and answers nothing', () => {
  const quoted = { quotedStanzaID: 'BB', quotedMsg: { type: 'chat' }, mentionedJidList: ['77@lid'] };
  assert.deepEqual(forwarded(model({ type: 'chat', body: 'hello', ack: 3, ...quoted })), {
    type: 'chat',
    body: 'hello',
    isForwarded: true,
    forwardingScore: 1,
  });
  const again = forwarded(model({ type: 'location', lat: 1, lng: 2, isForwarded: true, forwardingScore: 4 }));
  assert.deepEqual(again, { type: 'location', lat: 1, lng: 2, isForwarded: true, forwardingScore: 5 });
});

test('what cannot be passed on is refused by name', () => {
  for (const type of ['poll_creation', 'revoked', 'image', 'a type of next year']) {
    assert.throws(() => forwarded(model({ type })), { code: 'not_forwardable' }, type);
  }
});
