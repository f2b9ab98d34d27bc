import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Outbox } from '../src/outbox';
import { Vigil } from '../src/vigil';

const QUIET_MS = 90_000;

/** A vigil over a server that is told how to answer, and what it reported. */
function watch(ask: () => Promise<unknown>) {
  let now = 0;
  let connected = true;
  let asked = 0;
  const reports: unknown[] = [];
  const outbox = new Outbox((payload) => reports.push(...JSON.parse(payload).events), () => now);
  const watched = {
    connected: () => connected,
    ask: () => {
      asked += 1;
      return ask();
    },
  };
  const vigil = new Vigil(outbox, QUIET_MS, watched, () => now, 5);
  return {
    vigil,
    outbox,
    reports,
    asked: () => asked,
    advance: (ms: number) => {
      now += ms;
    },
    disconnect: () => {
      connected = false;
    },
  };
}

const never = () => new Promise<unknown>(() => undefined);

test('a quiet number is asked once in a while and never called sick', async () => {
  const far = watch(async () => ({}));
  for (let round = 1; round <= 20; round++) {
    far.advance(QUIET_MS);
    await far.vigil.look();
    await far.vigil.look();
    assert.equal(far.asked(), round);
  }
  far.outbox.flush();
  assert.deepEqual(far.reports, []);
});

test('a server that refuses is there', async () => {
  const far = watch(() => Promise.reject(new Error('not today')));
  for (let round = 0; round < 5; round++) {
    far.advance(QUIET_MS);
    await far.vigil.look();
  }
  far.outbox.flush();
  assert.deepEqual(far.reports, []);
});

test('a line that carries nothing is reported once, after two questions', async () => {
  const far = watch(never);
  far.advance(QUIET_MS - 1);
  await far.vigil.look();
  assert.equal(far.asked(), 0, 'too early to ask');
  far.advance(1);
  for (let round = 0; round < 5; round++) await far.vigil.look();
  far.outbox.flush();
  assert.equal(far.asked(), 2);
  assert.deepEqual(far.reports, [{ type: 'silent', for_ms: QUIET_MS }]);
});

test('one lost answer is not a dead line', async () => {
  let answers: Promise<unknown>[] = [never(), Promise.resolve({}), never()];
  const far = watch(() => answers.shift() ?? Promise.resolve({}));
  far.advance(QUIET_MS);
  await far.vigil.look();
  await far.vigil.look();
  far.advance(QUIET_MS);
  await far.vigil.look();
  far.vigil.heard();
  await far.vigil.look();
  far.outbox.flush();
  assert.deepEqual(far.reports, []);
  answers = [];
});

test('a page that knows of its lost line is left to mend it', async () => {
  const far = watch(never);
  far.disconnect();
  far.advance(10 * QUIET_MS);
  for (let round = 0; round < 3; round++) await far.vigil.look();
  far.outbox.flush();
  assert.equal(far.asked(), 0);
  assert.deepEqual(far.reports, []);
});
