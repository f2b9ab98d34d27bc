import assert from 'node:assert/strict';
import { test } from 'node:test';
import { History, isBehind } from '../src/history';
import type { Library } from '../src/library';
import { Outbox } from '../src/outbox';
import { SentIds } from '../src/send';

interface Row {
  id: string;
  type: string;
  t: number;
}

const row = (chat: string, id: string, t: number): Row => ({ id: `false_${chat}_${id}`, type: 'chat', t });

/** A page whose chats hold these rows in the order of their arrival; only the last of each is in memory. */
function page(chats: Record<string, Row[]>): { library: Library; reads: () => number } {
  let reads = 0;
  const models = Object.entries(chats).map(([id, rows]) => ({
    id,
    t: Math.max(...rows.map((one) => one.t)),
    msgs: { getModelsArray: () => rows.slice(-1) },
  }));
  const library = {
    whatsapp: {
      ChatStore: { getModelsArray: () => models },
      WidFactory: { createWid: (id: string) => id },
      lidPnCache: { getPhoneNumber: () => null, getCurrentLid: () => null },
      UserPrefs: { getMaybeMeLidUser: () => null, getMaybeMePnUser: () => null },
    },
    chat: {
      getMessages: async (id: string, options: { count: number; id?: string }) => {
        reads += 1;
        const rows = chats[id] ?? [];
        const end = options.id === undefined ? rows.length : rows.findIndex((one) => one.id === options.id);
        return rows.slice(Math.max(0, end - options.count), end);
      },
    },
  };
  return { library: library as unknown as Library, reads: () => reads };
}

/** Reads everything from `since` on, in pages. */
async function all(library: Library, since: number, limit: number): Promise<string[]> {
  const history = new History(new SentIds(), new Outbox(() => undefined));
  const keys: string[] = [];
  let cursor = { since, after: null as string | null };
  for (;;) {
    const messages = await history.behind(library, cursor, limit);
    keys.push(...messages.map((message) => message.key));
    const last = messages.at(-1);
    if (last === undefined) return keys;
    cursor = { since: last.timestamp, after: last.key };
  }
}

const name = (n: number) => String(n).padStart(4, '0');

test('more messages of one second than fit into a page are all read, once', async () => {
  const rows = Array.from({ length: 450 }, (_, n) => row('1@lid', name(n), 1000));
  const found = await all(page({ '1@lid': rows }).library, 1000, 200);
  assert.equal(found.length, 450);
  assert.equal(new Set(found).size, 450);
});

test('a chat with more messages than a page holds loses none of its oldest', async () => {
  const rows = Array.from({ length: 700 }, (_, n) => row('1@lid', name(n), 1000 + n));
  const found = await all(page({ '1@lid': rows }).library, 1100, 200);
  assert.deepEqual(found, rows.slice(100).map((one) => one.id));
});

test('a message that arrived late lies among newer ones and is found', async () => {
  const rows = Array.from({ length: 60 }, (_, n) => row('1@lid', name(n), n === 30 ? 500 : 2000 + n));
  const found = await all(page({ '1@lid': rows, '2@lid': [row('2@lid', 'A', 100)] }).library, 400, 200);
  assert.equal(found.length, 60);
  assert.equal(found[0], rows[30]?.id);
});

test('the chats are read once, however many pages they fill', async () => {
  const rows = Array.from({ length: 400 }, (_, n) => row('1@lid', name(n), 1000));
  const one = page({ '1@lid': rows });
  await all(one.library, 1000, 100);
  const reads = one.reads();
  await all(one.library, 1000, 400);
  assert.ok(reads <= 2 * (one.reads() - reads), `${reads} reads in four pages, ${one.reads() - reads} in one`);
});

test('the cursor keeps its place within a second', () => {
  const at = (timestamp: number, key: string) => ({ timestamp, key });
  const cursor = { since: 10, after: 'b' };
  const cases: [ReturnType<typeof at>, boolean][] = [
    [at(9, 'z'), false],
    [at(10, 'a'), false],
    [at(10, 'b'), false],
    [at(10, 'c'), true],
    [at(11, 'a'), true],
  ];
  for (const [message, expected] of cases) assert.equal(isBehind(cursor, message), expected, JSON.stringify(message));
  assert.equal(isBehind({ since: 10, after: null }, at(10, 'a')), true);
});
