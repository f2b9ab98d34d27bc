import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ownership } from '../src/ownership';

/** Two clocks that start apart, as they do in a browser. */
function clocks() {
  let wall = 1_790_000_000_000;
  let steady = 5_000;
  return {
    wall: () => wall,
    steady: () => steady,
    pass: (ms: number) => {
      wall += ms;
      steady += ms;
    },
    set: (ms: number) => void (wall += ms),
  };
}

const HOUR = 3_600_000;

test('ownership ends at the moment that was told, and a later one extends it', () => {
  const clock = clocks();
  const ownership = new Ownership(clock.wall() + 1000, clock.wall, clock.steady);
  clock.pass(1000);
  ownership.assert();
  clock.pass(1);
  assert.throws(() => ownership.assert(), { code: 'not_owner' });
  ownership.until = clock.wall() + 500;
  ownership.assert();
  ownership.until = Number.NaN;
  clock.pass(501);
  assert.throws(() => ownership.assert(), { code: 'not_owner' });
});

test('a clock that is set back extends nothing, and one that is set forward ends it', () => {
  const clock = clocks();
  const ownership = new Ownership(clock.wall() + 1000, clock.wall, clock.steady);
  clock.set(-HOUR);
  clock.pass(1001);
  assert.throws(() => ownership.assert(), { code: 'not_owner' });
  ownership.until = clock.wall() + 1000;
  ownership.assert();
  clock.set(HOUR);
  assert.throws(() => ownership.assert(), { code: 'not_owner' });
});

test('nothing that was never told is owned', () => {
  const ownership = new Ownership(Number.NaN);
  assert.throws(() => ownership.assert(), { code: 'not_owner' });
});
