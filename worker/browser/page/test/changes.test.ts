import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rings } from '../src/changes';

test('a call rings as long as nobody has taken it, whatever the page calls that', () => {
  const old = { INCOMING_RING: 'INCOMING_RING', ACTIVE: 'ACTIVE' };
  const now = { None: 0, Calling: 1, ReceivedCall: 3, CallActive: 6 };
  const call = (state: unknown, outgoing = false) => ({ outgoing, getState: () => state });
  assert.ok(rings(call('INCOMING_RING'), old));
  assert.ok(rings(call(3), now));
  for (const state of [0, 1, 6, undefined]) assert.ok(!rings(call(state), now), String(state));
  assert.ok(!rings(call('ACTIVE'), old));
  assert.ok(!rings(call(3, true), now), 'one of our own');
  assert.ok(!rings({}, now), 'of no state at all');
});
