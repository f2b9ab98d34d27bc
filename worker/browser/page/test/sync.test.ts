import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Library } from '../src/library';
import { plan } from '../src/sync';

const library = (...chats: { id: string; t?: number; unreadCount?: number }[]): Library =>
  ({ whatsapp: { ChatStore: { getModelsArray: () => chats } } }) as unknown as Library;

const SOME = library(
  { id: '111111@c.us', t: 10 },
  { id: '222222@c.us', t: 30 },
  { id: '333333@lid', t: 5, unreadCount: 2 },
  { id: '444444@g.us', t: 20, unreadCount: -1 },
  { id: '555555@newsletter', t: 99, unreadCount: 9 },
  { id: '666666@c.us' },
);

test('what is unread comes first, then the newest, and nothing but conversations', () => {
  const unread = ['444444@g.us', '333333@lid'];
  const all = [...unread, '222222@c.us', '111111@c.us', '666666@c.us'];
  assert.deepEqual(plan(SOME, { chats: null, since: null }).chats, all);
  assert.deepEqual(plan(SOME, { chats: 3, since: null }).chats, all.slice(0, 3));
  assert.deepEqual(plan(SOME, { chats: null, since: 10 }).chats, ['444444@g.us', '222222@c.us', '111111@c.us']);
});
