// Changing groups: who is in them, who administrates them, what they are called. The cloud decides, and tells everybody.
'use strict';

define('PageGroupChanges', (exports) => {
  // What the server says no to is known by this name.
  class ServerStatusCodeError extends Error {
    constructor(code) {
      super(`refused with ${code}`);
      this.name = 'ServerStatusCodeError';
      this.statusCode = code;
    }
  }
  exports.request = (kind, fields) =>
    use('PageSocket')
      .request(kind, fields)
      .catch((error) => {
        throw error.code ? new ServerStatusCodeError(error.code) : error;
      });

  exports.ask = (group, change) => exports.request('group_change', { group: String(group), ...change });

  const participants = (what) => async (group, people) => {
    const wids = people.map((person) => person.lid ?? person.phoneNumber ?? person.id ?? person);
    const { results } = await exports.ask(group, { change: what, participants: wids.map(String), value: null });
    return {
      status: 207,
      participants: wids.map((userWid, index) => ({ userWid, ...exports.answer(results[index]) })),
    };
  };
  exports.participants = participants;
  exports.answer = ({ code, invite }) => ({
    code: String(code),
    invite_code: invite ?? null,
    invite_code_exp: invite ? String(use('WATimeUtils').unixTime() + 3 * 24 * 3600) : null,
  });
  exports.set = (group, what, value) => exports.ask(group, { change: what, participants: [], value });
});

define('WAWebGroupModifyParticipantsJob', (exports) => {
  const { participants } = use('PageGroupChanges');
  Object.assign(exports, {
    addGroupParticipants: participants('add'),
    removeGroupParticipants: participants('remove'),
    promoteGroupParticipants: participants('promote'),
    demoteGroupParticipants: participants('demote'),
  });
});

define('WAWebModifyParticipantsGroupAction', (exports) => {
  const { participants } = use('PageGroupChanges');
  const act = (what) => async (chat, people) => void (await participants(what)(chat.id, people));
  Object.assign(exports, {
    addParticipants: act('add'),
    removeParticipants: act('remove'),
    promoteParticipants: act('promote'),
    demoteParticipants: act('demote'),
    promoteCommunityParticipants: act('promote'),
    demoteCommunityParticipants: act('demote'),
  });
});

define('WAWebGroupModifyInfoJob', (exports) => {
  const { set } = use('PageGroupChanges');
  exports.setGroupSubject = (group, subject) => set(group, 'subject', subject);
  exports.setGroupDescription = (group, description) => set(group, 'description', description);
  exports.setGroupProperty = (group, property, value) =>
    property === 'ephemeral'
      ? set(group, property, value)
      : set(group, property === 'announcement' ? 'announce' : property, value === 1);
});

define('WAWebGroupCreateJob', (exports) => {
  // wa-js recognises the module by this name.
  exports.GroupAlreadyExistsError = class extends Error {};
  exports.createGroup = async ({ title }, people) => {
    const { request, answer } = use('PageGroupChanges');
    const wids = people.map(({ phoneNumber }) => phoneNumber);
    const { group, results } = await request('group_create', { subject: title, participants: wids.map(String) });
    const participants = wids.map((wid, index) => {
      const { code, ...invitation } = answer(results[index]);
      return { wid, error: code === '200' ? null : code, ...invitation };
    });
    return { wid: use('WAWebWidFactory').createWid(group), participants };
  };
});

define('WAWebMexFetchGroupInviteCodeJob', (exports) => {
  exports.fetchMexGroupInviteCode = async (group) => {
    const { code } = await use('PageGroupChanges').request('group_invite', { group: String(group), revoke: false });
    return { inviteCode: code };
  };
});

define('WAWebGroupInviteJob', (exports) => {
  exports.resetGroupInviteCode = (group) =>
    use('PageGroupChanges').request('group_invite', { group: String(group), revoke: true });
});

define('WAWebContactProfilePicThumbBridge', (exports) => {
  const { set } = use('PageGroupChanges');
  exports.sendSetPicture = async (group, small, large) => {
    await set(group, 'picture', { small, large });
    return { status: 200, tag: String(Date.now()) };
  };
  exports.requestDeletePicture = async (group) => {
    await set(group, 'picture', null);
    return { status: 200 };
  };
});

define('WAWebExitGroupAction', (exports) => {
  exports.sendExitGroup = (chat) => use('PageGroupChanges').set(chat.id, 'leave', null);
});

define('WAWebUpdateDbForGroupActionApi', (exports) => {
  // wa-js replaces this on its exports object to learn of changes.
  exports.updateDBForGroupAction = async () => {};
});
