// Stage `linked`: who we are and whom we know.
'use strict';

const linked = (name, needs, run, more) => conformance.assert({ name, needs, stage: 'linked', ...more }, run);
const wid = (number) => `${number}@c.us`;
// The LID of a number, as an adapter finds it.
const lidOf = async (number) => (await WPP.contact.getPnLidEntry(wid(number))).lid._serialized;

linked('a linked page is registered, authenticated and connected', [], async ({ equal, page }) => {
  equal([WPP.conn.isRegistered(), WPP.conn.isAuthenticated()], [true, true], 'registered, authenticated');
  equal(
    [page('WAWebSocketModel').Socket.state, page('WAWebStreamModel').Stream.mode],
    ['CONNECTED', 'MAIN'],
    'state, mode',
  );
});

linked('there is no QR code and no pairing code for a linked page', [], async ({ equal, refusal, people }) => {
  equal(await WPP.conn.getAuthCode(), null, 'the QR code');
  const error = await refusal(WPP.conn.genLinkDeviceCodeForPhoneNumber(people.me), 'a pairing code');
  equal(error.code, 'cannot_get_code_for_already_authenticated', 'the code of the error');
});

linked('the own number and LID are known, without a device', [], async ({ equal, ensure, people }) => {
  equal(String(WPP.conn.getMyUserId()), wid(people.me), 'my id');
  ensure(/^\d+@lid$/.test(String(WPP.conn.getMyUserLid())), `my LID is ${WPP.conn.getMyUserLid()}`);
  equal(String(WPP.conn.getMyDeviceId()), wid(people.me), 'what wa-js calls my device');
});

linked('the platform and the profile name are known', [], async ({ ensure }) => {
  ensure(['android', 'iphone', 'smba', 'smbi'].includes(WPP.conn.getPlatform()), WPP.conn.getPlatform());
  ensure(typeof WPP.profile.getMyProfileName() === 'string', 'there is no profile name');
});

linked('the session lies in localStorage and IndexedDB', [], async ({ ensure, equal }) => {
  for (const key of ['last-wid-md', 'WANoiseInfo']) ensure(localStorage.getItem(key), `${key} is not in localStorage`);
  const names = (await indexedDB.databases()).map(({ name }) => name);
  equal(names.includes('model-storage'), true, `model-storage among ${names}`);
});

linked('an existing number is found with its LID', [], async ({ equal, ensure, people }) => {
  const found = await WPP.contact.queryWidExists(wid(people.contact));
  equal(String(found.wid), wid(people.contact), 'the number');
  ensure(found.lid.isLid(), `${found.lid} is no LID`);
});

linked('a missing number is not found', [], async ({ equal, people }) => {
  equal(await WPP.contact.queryWidExists(wid(people.missing)), null, 'the answer');
});

linked('number and LID can be translated both ways', [], async ({ equal, people }) => {
  const lid = await lidOf(people.contact);
  const back = await WPP.contact.getPnLidEntry(lid);
  equal([back.lid._serialized, back.phoneNumber._serialized], [lid, wid(people.contact)], 'lid and number');
});

linked('a missing number has no LID', [], async ({ equal, people }) => {
  const entry = await WPP.contact.getPnLidEntry(wid(people.missing));
  equal([entry.lid, entry.phoneNumber._serialized], [undefined, wid(people.missing)], 'lid and number');
});

linked(
  'names of the address book appear under number and LID',
  ['far end', 'control'],
  async ({ equal, farEnd, people, until, page }) => {
    await farEnd.contact({ number: people.me, contact: people.friend, name: 'Friend of mine' });
    page('WAWebSocketModel').Socket.reconnect(); // the address book comes with the login
    const contact = await until('the contact', () => WPP.contact.get(wid(people.friend)));
    equal([contact.name, contact.isMyContact], ['Friend of mine', true], 'by number');
    equal((await WPP.contact.get(await lidOf(people.friend))).name, 'Friend of mine', 'by LID');
    const mine = await WPP.contact.list({ onlyMyContacts: true });
    equal(mine.filter(({ name }) => name === 'Friend of mine').length, 2, 'entries in the list');
  },
);

linked('what is no id is refused', [], async ({ equal, refusal }) => {
  const error = await refusal(WPP.contact.queryWidExists(''), 'asking for nobody');
  equal(error.code, 'invalid_wid', 'the code of the error');
});
