import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Acks } from '../src/acks';
import { unixMs } from '../src/changes';
import { isMessage, isWaiting, toMessage, type Directory, type RawMessage } from '../src/messages';
import { Series } from '../src/qr';
import { Recent } from '../src/recent';

/** Ids are objects in the page; what counts is how they print. */
const printed = (text: string) => ({ toString: () => text });

const directory: Directory = {
  phoneOf: (lid) => (lid === '77@lid' ? '4915@c.us' : null),
  lidOf: (phone) => (phone === '4915@c.us' ? '77@lid' : null),
  me: () => '11@lid',
  isMe: (id) => id === '11@lid',
};

const text: RawMessage = { id: printed('false_77@lid_AA'), type: 'chat', body: 'hello', t: 5, ack: 1, from: printed('77@lid') };

test('only what somebody wrote to a person or a group is a message', () => {
  const cases: [RawMessage, boolean][] = [
    [text, true],
    [{ ...text, type: 'image' }, true],
    [{ ...text, type: 'a type of next year' }, true],
    [{ ...text, type: 'e2e_notification' }, false],
    [{ ...text, type: 'notification_template' }, false],
    [{ ...text, type: 'gp2' }, false],
    [{ ...text, type: 'protocol' }, false],
    [{ ...text, type: 'ciphertext' }, false],
    [{ ...text, type: undefined }, false],
    [{ ...text, id: printed('false_120@g.us_AA_77@lid') }, true],
    [{ ...text, id: printed('false_status@broadcast_AA_77@lid') }, false],
    [{ ...text, id: printed('false_120@newsletter_AA') }, false],
    [{ ...text, id: undefined }, false],
  ];
  for (const [raw, wanted] of cases) assert.equal(isMessage(raw), wanted, `${String(raw.id)} ${String(raw.type)}`);
});

test('a message names its sender by number and by id', () => {
  const source = () => 'phone' as const;
  const cases: [RawMessage, Partial<ReturnType<typeof toMessage>>][] = [
    [text, { sender_id: '77@lid', sender_phone: '4915@c.us', sender_lid: '77@lid', from_me: false, source: null }],
    [
      { ...text, id: printed('false_4915@c.us_AA'), from: printed('4915:3@c.us') },
      { sender_id: '4915@c.us', sender_phone: '4915@c.us', sender_lid: '77@lid' },
    ],
    [
      { ...text, id: printed('false_120@g.us_AA_77@lid'), from: printed('120@g.us') },
      { chat_id: '120@g.us', sender_id: '77@lid', sender_phone: '4915@c.us' },
    ],
    [
      { ...text, id: printed('true_77@lid_AA'), from: printed('11:9@lid') },
      { from_me: true, sender_id: '11@lid', sender_phone: null, source: 'phone' },
    ],
    [{ ...text, type: 'image', body: 'thumbnail', caption: 'look', directPath: '/x' }, { text: 'look', has_media: true }],
    [{ ...text, type: 'image', body: 'thumbnail' }, { text: null, has_media: false }],
    [{ ...text, quotedStanzaID: 'BB', notifyName: 'Anna' }, { quoted_id: 'BB', notify_name: 'Anna' }],
  ];
  for (const [raw, wanted] of cases) {
    const message = toMessage(raw, directory, source);
    for (const [name, value] of Object.entries(wanted)) {
      assert.deepEqual(message[name as keyof typeof message], value, `${String(raw.id)} ${name}`);
    }
  }
});

test('what a message holds is told by its kind', () => {
  const cases: [RawMessage, Partial<ReturnType<typeof toMessage>>][] = [
    [text, { location: null, contacts: [], poll: null, media: null, mentions: [], forwarded: null, quoted: null }],
    [
      { ...text, type: 'location', body: 'a picture', lat: 52.5, lng: '-13.25', loc: 'Reichstag\nPlatz 1\nBerlin' },
      {
        text: null,
        location: { latitude: 52.5, longitude: -13.25, name: 'Reichstag', address: 'Platz 1\nBerlin', url: null },
      },
    ],
    [{ ...text, type: 'location', lat: 52.5 }, { location: null }],
    [
      { ...text, type: 'vcard', body: 'BEGIN:VCARD', vcardFormattedName: 'Anna' },
      { text: null, contacts: [{ name: 'Anna', vcard: 'BEGIN:VCARD' }] },
    ],
    [
      { ...text, type: 'multi_vcard', vcardList: [{ displayName: 'A', vcard: 'V' }, { displayName: 'B' }] },
      { contacts: [{ name: 'A', vcard: 'V' }] },
    ],
    [
      { ...text, type: 'poll_creation', pollName: 'When?', pollOptions: [{ name: 'now' }], pollSelectableOptionsCount: 0 },
      { poll: { question: 'When?', options: ['now'], multiple: true } },
    ],
    [
      { ...text, type: 'ptt', body: '', directPath: '/x', mimetype: 'audio/ogg', size: 7, duration: '3' },
      { media: { mimetype: 'audio/ogg', size: 7, filename: null, seconds: 3, width: null, height: null } },
    ],
    [{ ...text, mentionedJidList: [printed('77:2@lid')] }, { mentions: ['77@lid'] }],
    [{ ...text, isForwarded: true }, { forwarded: 1 }],
    [{ ...text, forwardingScore: 4 }, { forwarded: 4 }],
    [
      { ...text, quotedStanzaID: 'BB', quotedParticipant: printed('11@lid'), quotedMsg: { type: 'chat', body: 'hm' } },
      { quoted: { id: 'BB', sender_id: '11@lid', kind: 'chat', text: 'hm' } },
    ],
  ];
  for (const [raw, wanted] of cases) {
    const message = toMessage(raw, directory, () => null);
    for (const [name, value] of Object.entries(wanted)) {
      assert.deepEqual(message[name as keyof typeof message], value, `${String(raw.type)} ${name}`);
    }
  }
});

test('what cannot be read yet waits, and is no message', () => {
  const cipher = { ...text, type: 'ciphertext' };
  assert.deepEqual([isWaiting(cipher), isMessage(cipher), isWaiting(text)], [true, false, false]);
  assert.equal(isWaiting({ ...cipher, id: printed('false_status@broadcast_AA') }), false);
});

test('times are milliseconds, whichever unit WhatsApp used', () => {
  const cases: [unknown, number | null][] = [
    [1_795_000_000, 1_795_000_000_000],
    [1_795_000_000_250, 1_795_000_000_250],
    [0, null],
    [undefined, null],
    [NaN, null],
  ];
  for (const [time, wanted] of cases) assert.equal(unixMs(time), wanted, String(time));
});

test('a model that lacks what makes a message is an error and nothing is made up', () => {
  for (const raw of [{ ...text, t: undefined }, { ...text, id: 'nonsense' }, { ...text, type: 7 }]) {
    assert.throws(() => toMessage(raw, directory, () => null));
  }
});

test('acks rise per message, and in a group per participant', () => {
  const acks = new Acks();
  const own = printed('true_77@lid_AA');
  const steps: [unknown[], unknown, unknown, number | null][] = [
    [[own], 0, null, null],
    [[own], 1, null, 1],
    [[own], 1, null, null],
    [[own], 3, null, 3],
    [[own], 2, null, null],
    [[own], 4, null, 4],
    [[printed('false_77@lid_BB')], 3, null, null],
    [[own], 'read', null, null],
    [[own], 2.5, null, null],
    [[printed('true_120@g.us_CC_11@lid')], 2, printed('77:1@lid'), 2],
    [[printed('true_120@g.us_CC_11@lid')], 3, printed('88@lid'), 3],
    [[printed('true_120@g.us_CC_11@lid')], 3, printed('77@lid'), 3],
    [[printed('true_77@lid_DD')], -1, null, -1],
    [[printed('true_77@lid_DD')], -1, null, null],
    [[printed('true_77@lid_DD')], 1, null, 1],
  ];
  for (const [keys, ack, sender, wanted] of steps) {
    assert.equal(acks.news(keys, ack, sender)?.ack ?? null, wanted, `${keys.map(String).join()} ${String(ack)}`);
  }
});

test('of several messages only those that got further are told', () => {
  const acks = new Acks();
  acks.news(['true_77@lid_A'], 3, null);
  assert.deepEqual(acks.news(['true_77@lid_A', 'true_77@lid_B'], 2, null), {
    keys: ['true_77@lid_B'],
    chat_id: '77@lid',
    sender_id: null,
    ack: 2,
  });
});

test('a series of codes begins with a connection, after the idle, and when asked for', () => {
  const series = new Series();
  series.socket('UNPAIRED');
  assert.deepEqual([series.next(), series.next(), series.next()], [true, false, false]);
  series.socket('UNPAIRED');
  assert.equal(series.next(), false);
  for (const state of ['OPENING', 'PAIRING', 'UNPAIRED_IDLE']) {
    series.socket(state);
    series.socket('UNPAIRED');
    assert.deepEqual([series.next(), series.next()], [true, false], state);
  }
  series.restart();
  assert.equal(series.next(), true);
});

test('what is full forgets its oldest', () => {
  const recent = new Recent<number>(2);
  recent.set('a', 1);
  recent.set('b', 2);
  recent.set('a', 3);
  recent.set('c', 4);
  assert.deepEqual([recent.get('a'), recent.has('b'), recent.get('c')], [3, false, 4]);
});
