// Groups: metadata and participants. Who changes them is in administration.js.
'use strict';

define('WAWebGroupParticipantModel', (exports) => {
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  class Participant extends BaseModel {
    static defaults = { isAdmin: false, isSuperAdmin: false };

    get contact() {
      return this.id && use('WAWebContactCollection').ContactCollection.get(this.id);
    }
  }
  exports.default = defineModel('participant', Participant);
});

define('WAWebGroupParticipantCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  class ParticipantCollection extends Collection {
    static model = use('WAWebGroupParticipantModel').default;

    iAmMember() {
      return this.some((participant) => use('WAWebUserPrefsMeUser').isMeAccount(participant.id));
    }

    iAmAdmin() {
      return this.some((participant) => participant.isAdmin && use('WAWebUserPrefsMeUser').isMeAccount(participant.id));
    }

    iAmRestrictedMember() {
      return false;
    }

    canAdd() {
      return this.iAmAdmin();
    }

    canRemove(participant) {
      return this.iAmAdmin() && !participant.isSuperAdmin;
    }

    canPromote(participant) {
      return this.iAmAdmin() && !participant.isAdmin;
    }

    canDemote(participant) {
      return this.iAmAdmin() && participant.isAdmin && !participant.isSuperAdmin;
    }
  }
  exports.default = ParticipantCollection;
});

define('WAWebGroupMetadataModel', (exports) => {
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  class GroupMetadata extends BaseModel {
    static defaults = { isLidAddressingMode: true, isParentGroup: false };

    constructor(values) {
      super(values);
      const ParticipantCollection = use('WAWebGroupParticipantCollection').default;
      Object.defineProperty(this, 'participants', { value: new ParticipantCollection() });
    }

    canSetSubject() {
      return !this.restrict || this.participants.iAmAdmin();
    }

    canSetDescription() {
      return this.canSetSubject();
    }

    canSetGroupProperty() {
      return this.participants.iAmAdmin();
    }

    canSetEphemeralSetting() {
      return this.participants.iAmAdmin();
    }
  }
  exports.default = defineModel('groupMetadata', GroupMetadata);
});

define('WAWebGroupMetadataCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  class GroupMetadataCollectionImpl extends Collection {
    static model = use('WAWebGroupMetadataModel').default;

    // wa-js recognises the collection by this name.
    onParentGroupChange() {}
  }
  exports.default = new GroupMetadataCollectionImpl();
});

define('PageGroups', (exports) => {
  const storage = use('PageStorage');
  const { createWid } = use('WAWebWidFactory');

  const show = ({ id, subject, description, announce, restrict, ephemeral, owner, admins, participants }) => {
    const metadata = use('WAWebGroupMetadataCollection').default.gadd(createWid(id));
    // Absent where messages stay, as on the real page.
    const ephemeralDuration = ephemeral || undefined;
    metadata.set({ subject, desc: description, announce, restrict, ephemeralDuration });
    metadata.set({ owner: createWid(owner), size: participants.length });
    for (const { lid } of participants) {
      const [isAdmin, isSuperAdmin] = [admins.includes(lid), lid === owner];
      metadata.participants.add({ id: createWid(lid), isAdmin, isSuperAdmin }, { merge: true });
    }
    const here = new Set(participants.map(({ lid }) => lid));
    for (const gone of metadata.participants.models.filter((participant) => !here.has(String(participant.id)))) {
      metadata.participants.remove(gone);
    }
  };

  // Through the exports object, because wa-js replaces this function there.
  const announceDeed = (group, { action, author, participants, at }) =>
    use('WAWebUpdateDbForGroupActionApi').updateDBForGroupAction(
      { chatId: createWid(group.id), author: createWid(author), pushname: '', ts: at },
      { actionType: action, participants: participants.map((lid) => ({ id: createWid(lid) })) },
    );

  exports.learn = async (group, deed) => {
    await storage.put('group-metadata', group);
    for (const { lid, number, name } of group.participants) {
      await use('PageContacts').meet({ lid, number, pushname: name });
    }
    show(group);
    const chat = await use('PageChats').open(createWid(group.id), { name: group.subject });
    chat.set('name', group.subject);
    if (deed) await announceDeed(group, deed);
  };

  exports.restore = async () => (await storage.all('group-metadata')).forEach(show);
});

define('WAWebGroupQueryJob', (exports) => {
  exports.queryAllGroups = async () => use('WAWebGroupMetadataCollection').default.models.map(({ id }) => ({ id }));
});

define('WAWebGroupsParticipantsApi', (exports) => {
  exports.getParticipants = (id) => use('WAWebGroupMetadataCollection').default.get(id)?.participants.models ?? [];
  exports.addParticipants = async () => {};
  exports.updateParticipants = async () => {};
});
