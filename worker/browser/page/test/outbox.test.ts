import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Outbox } from '../src/outbox';
import { VERSION } from '../src/protocol';
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

/** Takes the place of `setTimeout` for one test. By hand, because the mock timers of Node.js 18 and 20 differ. */
function timeouts(t: TestContext) {
  const set: { run: () => void; after: number }[] = [];
  const real = globalThis.setTimeout;
  const fake = (run: () => void, after: number) => set.push({ run, after });
  globalThis.setTimeout = fake as unknown as typeof setTimeout;
  t.after(() => void (globalThis.setTimeout = real));
  return set;
}

const idle: Event = { type: 'qr_idle' };

test('a quiet outbox sends at once, a busy one in batches', (t) => {
  const set = timeouts(t);
  const { box, batches, pass } = outbox();
  box.push(idle);
  assert.equal(batches.length, 1);
  box.push(idle);
  box.push(idle);
  assert.equal(batches.length, 1);
  assert.deepEqual(
    set.map((timeout) => timeout.after),
    [50],
  );
  pass(50);
  set[0]?.run();
  assert.deepEqual(
    batches.map((b) => b.events.length),
    [1, 2],
  );
});

test('64 events go without waiting, and batches are numbered without a gap', (t) => {
  timeouts(t);
  const { box, batches } = outbox();
  for (let n = 0; n < 1 + 64 + 64; n++) box.push(idle);
  assert.deepEqual(
    batches.map((b) => [b.v, b.seq, b.events.length]),
    [
      [VERSION, 1, 1],
      [VERSION, 2, 64],
      [VERSION, 3, 64],
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
