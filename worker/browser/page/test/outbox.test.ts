import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Outbox } from '../src/outbox';
import type { Batch, Event } from '../src/protocol';

function outbox() {
  let now = 1000;
  const batches: Batch[] = [];
  const box = new Outbox(
    (payload) => batches.push(JSON.parse(payload) as Batch),
    () => now,
  );
  return { box, batches, pass: (ms: number) => void (now += ms) };
}

const idle: Event = { type: 'qr_idle' };

test('a quiet outbox sends at once, a busy one in batches', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { box, batches, pass } = outbox();
  box.push(idle);
  assert.equal(batches.length, 1);
  box.push(idle);
  box.push(idle);
  assert.equal(batches.length, 1);
  pass(50);
  t.mock.timers.tick(50);
  assert.deepEqual(
    batches.map((b) => b.events.length),
    [1, 2],
  );
});

test('64 events go without waiting, and batches are numbered without a gap', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { box, batches } = outbox();
  for (let n = 0; n < 1 + 64 + 64; n++) box.push(idle);
  assert.deepEqual(
    batches.map((b) => [b.v, b.seq, b.events.length]),
    [
      [1, 1, 1],
      [1, 2, 64],
      [1, 3, 64],
    ],
  );
});

test('the same fault is reported once', () => {
  const { box, batches } = outbox();
  for (let n = 0; n < 5; n++) box.fault('here', new TypeError('no'));
  box.flush();
  assert.deepEqual(
    batches.flatMap((b) => b.events),
    [{ type: 'fault', what: 'here: TypeError: no' }],
  );
});
