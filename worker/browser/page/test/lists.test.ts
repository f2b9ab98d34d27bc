import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newestFirst, page } from '../src/lists';

const entries = (...keys: string[]): [string, string][] => keys.map((key) => [key, key.toUpperCase()]);

test('pages follow each other without a gap and end', () => {
  const all = entries('c', 'a', 'e', 'b', 'd');
  const seen: string[] = [];
  let cursor: string | null = null;
  const cursors: (string | null)[] = [];
  do {
    const next: { taken: string[]; cursor: string | null } = page(all, { limit: 2, cursor });
    seen.push(...next.taken);
    cursor = next.cursor;
    cursors.push(cursor);
  } while (cursor !== null);
  assert.deepEqual(seen, ['A', 'B', 'C', 'D', 'E']);
  assert.deepEqual(cursors, ['b', 'd', null]);
});

test('what comes or goes between two pages hides and repeats nothing else', () => {
  const first = page(entries('b', 'd', 'f', 'h'), { limit: 2, cursor: null });
  assert.deepEqual(first, { taken: ['B', 'D'], cursor: 'd' });
  // The last of the page went away, and two came, before it and behind it.
  assert.deepEqual(page(entries('a', 'b', 'e', 'f', 'h'), { limit: 9, cursor: 'd' }).taken, ['E', 'F', 'H']);
});

test('an answer is bounded, and goes on all the same', () => {
  const long = 'x'.repeat(100_000);
  const all: [string, string][] = ['a', 'b', 'c', 'd'].map((key) => [key, long]);
  const first = page(all, { limit: 100, cursor: null });
  assert.deepEqual([first.taken.length, first.cursor], [2, 'b']);
  const huge = page([['a', 'x'.repeat(1_000_000)], ['b', 'y']], { limit: 100, cursor: null });
  assert.deepEqual([huge.taken.length, huge.cursor], [1, 'a']);
  assert.deepEqual(page([], { limit: 1, cursor: null }), { taken: [], cursor: null });
});

test('the newest come first, and of one second each in its place', () => {
  const keys = [newestFirst(5, 'b'), newestFirst(1_795_000_000, 'a'), newestFirst(5, 'a'), newestFirst(0, 'z')];
  assert.deepEqual([...keys].sort().map((key) => key.split(' ')[1]), ['a', 'a', 'b', 'z']);
});
