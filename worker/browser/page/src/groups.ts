// Making and changing groups, and what becomes of them. Who is as asked already is left alone, so that asking twice does no
// more than asking once; only a group is made anew each time.

import { existingChat } from './chats';
import { Failure, describe } from './errors';
import { user } from './ids';
import type { Library } from './library';
import type { Outbox } from './outbox';
import { check } from './people';
import type { ContactAnswer, GroupSetting, GroupSettings } from './protocol';
import type { ChatModel } from './store';

export type Change = 'add' | 'remove' | 'promote' | 'demote';

interface Participant {
  id: unknown;
  isAdmin?: boolean;
  isSuperAdmin?: boolean;
}

/** What became of one of them: the server's code is 200 for done, 403 for somebody who does not let themselves be added. */
export interface Changed {
  id: string;
  done: boolean;
  code: number;
  invitation: Invitation | null;
}

/** What somebody who may not be added can come by themselves with. */
interface Invitation {
  code: string;
  expires_at: string | null;
}

/** Several settings of a group that change at once are told at once. */
const TELL_AFTER_MS = 50;

/** A group that was just made is shown within this time, or is asked for by whoever needs it. */
const SHOWN_WITHIN_MS = 5_000;

const LOOK_EVERY_MS = 50;

function members(chat: ChatModel): Participant[] {
  return (chat.groupMetadata?.participants.getModelsArray() ?? []) as unknown as Participant[];
}

function isAsAsked(member: Participant | undefined, change: Change): boolean {
  const admin = member?.isAdmin === true || member?.isSuperAdmin === true;
  switch (change) {
    case 'add':
      return member !== undefined;
    case 'remove':
      return member === undefined;
    case 'promote':
      return admin;
    case 'demote':
      return member !== undefined && !admin;
  }
}

/** Changes who is in a group. */
export async function changeParticipants(
  library: Library,
  chat: ChatModel,
  change: Change,
  people: string[],
): Promise<{ participants: Changed[] }> {
  await library.whatsapp.GroupMetadataStore.find(chat.id);
  if (chat.groupMetadata?.participants.iAmAdmin() !== true) {
    throw new Failure('not_allowed', 'only administrators can change who is in the group');
  }
  const participants: Changed[] = [];
  for (const person of people) {
    const known = await check(library, person);
    const ids = [known.lid, known.phone].filter((id) => id !== null);
    const find = () => members(chat).find((member) => ids.includes(user(member.id)));
    const id = known.lid ?? known.phone ?? person;
    if (!known.on_whatsapp || (change !== 'add' && change !== 'remove' && find() === undefined)) {
      participants.push({ id, done: false, code: 404, invitation: null });
      continue;
    }
    const { code, invitation } = isAsAsked(find(), change)
      ? { code: 200, invitation: null }
      : await changeOne(library, chat, change, user(find()?.id ?? id));
    participants.push({ id, done: code === 200, code, invitation });
  }
  return { participants };
}

type Answered = Pick<Changed, 'code' | 'invitation'>;

async function changeOne({ group }: Library, chat: ChatModel, change: Change, id: string): Promise<Answered> {
  if (change === 'add') {
    const [answer] = Object.values(await group.addParticipants(chat.id, id));
    return { code: answer?.code ?? 200, invitation: invitation(answer?.invite_code, answer?.invite_code_exp) };
  }
  const act = { remove: group.removeParticipants, promote: group.promoteParticipants, demote: group.demoteParticipants };
  await act[change](chat.id, id);
  return { code: 200, invitation: null };
}

function invitation(code: unknown, expires: unknown): Invitation | null {
  if (typeof code !== 'string' || code === '') return null;
  const seconds = Number(expires);
  return { code, expires_at: seconds > 0 ? new Date(seconds * 1000).toISOString() : null };
}

interface CreatedGroup {
  wid: unknown;
  participants?: { wid: unknown; error?: unknown; invite_code?: unknown; invite_code_exp?: unknown }[];
}

/** WhatsApp's own function for it. wa-js' makes every group one in which only administrators may write. */
type CreateGroup = (options: object, people: { phoneNumber: unknown }[]) => Promise<CreatedGroup>;

/**
 * Makes a group. What is asked before is told by other errors than what goes wrong once WhatsApp has been asked for it: then
 * there may be a group.
 */
export async function create(
  library: Library,
  subject: string,
  people: string[],
): Promise<{ chat_id: string; participants: Changed[] }> {
  const named: { id: string; known: ContactAnswer }[] = [];
  let createGroup: CreateGroup | undefined;
  try {
    for (const person of people) {
      const known = await check(library, person);
      named.push({ id: known.lid ?? known.phone ?? person, known });
    }
    createGroup = (library.whatsapp.functions as unknown as { createGroup?: CreateGroup }).createGroup;
  } catch (error) {
    if (error instanceof Failure && error.code === 'invalid_recipient') throw error;
    throw new Failure('not_begun', `nothing was asked for yet: ${describe(error).message}`);
  }
  if (typeof createGroup !== 'function') throw new Failure('incompatible', 'the page cannot make groups');
  const there = named.filter(({ known }) => known.on_whatsapp);
  if (there.length === 0) throw new Failure('no_such_number', 'none of them has WhatsApp');
  const options = {
    title: subject,
    ephemeralDuration: 0,
    restrict: false,
    announce: false,
    membershipApprovalMode: false,
    memberAddMode: true,
  };
  const wid = ({ known, id }: (typeof named)[number]) => library.whatsapp.WidFactory.createWid(known.phone ?? id);
  const created = await answered(createGroup(options, there.map((person) => ({ phoneNumber: wid(person) }))));
  const chat_id = String(created.wid);
  const answers = new Map((created.participants ?? []).map((answer) => [user(answer.wid), answer]));
  const participants = named.map(({ id, known }): Changed => {
    if (!known.on_whatsapp) return { id, done: false, code: 404, invitation: null };
    const answer = [known.lid, known.phone, id].flatMap((one) => (one === null ? [] : (answers.get(one) ?? [])))[0];
    const code = answer?.error === undefined || answer.error === null ? 200 : Number(answer.error);
    return { id, done: code === 200, code, invitation: invitation(answer?.invite_code, answer?.invite_code_exp) };
  });
  const until = performance.now() + SHOWN_WITHIN_MS;
  while ((await existingChat(library, chat_id)) === undefined && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  return { chat_id, participants };
}

/** A refusal of the server is one, whatever else may go wrong. */
export async function answered<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    const { name } = describe(error);
    if (name === 'ServerStatusCodeError') throw new Failure('server_refused', describe(error).message);
    throw error;
  }
}

/** The link by which people come into a group; a new one in its place where `revoke` says so. */
export async function invite(
  { whatsapp, group }: Library,
  chat: ChatModel,
  revoke: boolean,
): Promise<{ invite_link: string }> {
  // wa-js calls it unseen. Builds of the page were met that do not have it, and asking them again would not help.
  if (revoke && typeof whatsapp.functions.resetGroupInviteCode !== 'function') {
    throw new Failure('incompatible', 'the page cannot replace the link of a group');
  }
  const answer: unknown = await answered<unknown>(revoke ? group.revokeInviteCode(chat.id) : group.getInviteCode(chat.id));
  const { inviteCode, code } = (answer ?? {}) as { inviteCode?: unknown; code?: unknown };
  const found = [answer, inviteCode, code].find((one) => typeof one === 'string' && one !== '');
  if (found === undefined) throw new Failure('not_done', 'the page gave no code');
  return { invite_link: `https://chat.whatsapp.com/${String(found)}` };
}

export interface Settings {
  subject: string | null;
  description: string | null;
  announce: boolean | null;
  restrict: boolean | null;
  /** Seconds after which new messages disappear; 0: never. */
  ephemeral?: number | null;
}

/** Changes what is asked for, and leaves the rest. */
export async function changeSettings({ whatsapp, group }: Library, chat: ChatModel, wanted: Settings): Promise<void> {
  await whatsapp.GroupMetadataStore.find(chat.id);
  const now = chat.groupMetadata as unknown as Record<string, unknown>;
  if (wanted.subject !== null && now.subject !== wanted.subject) await group.setSubject(chat.id, wanted.subject);
  if (wanted.description !== null && now.desc !== wanted.description) {
    await group.setDescription(chat.id, wanted.description);
  }
  for (const [property, value] of [
    ['announcement', wanted.announce],
    ['restrict', wanted.restrict],
  ] as const) {
    const shown = property === 'announcement' ? now.announce : now.restrict;
    if (value !== null && (shown === true) !== value) {
      await group.setProperty(chat.id, property as unknown as Parameters<typeof group.setProperty>[1], value);
    }
  }
  const ephemeral = wanted.ephemeral ?? null;
  if (ephemeral !== null && seconds(now.ephemeralDuration) !== ephemeral) {
    const property = 'ephemeral' as unknown as Parameters<typeof group.setProperty>[1];
    await group.setProperty(chat.id, property, ephemeral as Parameters<typeof group.setProperty>[2]);
  }
}

/** The page leaves it out where messages stay. */
export function seconds(duration: unknown): number {
  return typeof duration === 'number' && duration > 0 ? duration : 0;
}

/** Leaves a group; one that was left before stays left. */
export async function leave({ whatsapp, group }: Library, chat: ChatModel): Promise<void> {
  await whatsapp.GroupMetadataStore.find(chat.id);
  if (chat.groupMetadata?.participants.iAmMember() !== false) await group.leave(chat.id);
}

interface Metadata {
  id: unknown;
  stale?: unknown;
  subject?: unknown;
  desc?: unknown;
  announce?: unknown;
  restrict?: unknown;
  ephemeralDuration?: unknown;
}

/** Tells when a group is called otherwise, or others may do something in it: as the page's own models show it. */
export function watchGroupSettings(library: Library, outbox: Outbox): void {
  const store = library.whatsapp.GroupMetadataStore as unknown as {
    getModelsArray(): Metadata[];
    on(names: string, listener: (model: Metadata) => void): void;
  };
  const known = new Map<string, GroupSettings>();
  const due = new Set<Metadata>();
  const look = (model: Metadata) => {
    const now = settingsOf(model);
    if (now === null) return;
    const chat_id = String(model.id);
    const before = known.get(chat_id);
    known.set(chat_id, now);
    if (before === undefined) return;
    const names = Object.keys(now) as GroupSetting[];
    const changed = names.filter((name) => now[name] !== before[name]);
    if (changed.length > 0) outbox.push({ type: 'group_update', chat_id, changed, ...now });
  };
  const guarded = (model: Metadata) => {
    try {
      look(model);
    } catch (error) {
      outbox.fault('group', error);
    }
  };
  const lookAtAll = () => {
    const models = [...due];
    due.clear();
    models.forEach(guarded);
  };
  const soon = (model: Metadata) => {
    // How it is at first is news to nobody, and what comes after it must be compared with it.
    if (!known.has(String(model.id))) return guarded(model);
    if (due.size === 0) setTimeout(lookAtAll, TELL_AFTER_MS);
    due.add(model);
  };
  for (const name of ['add', 'change:stale', 'change:subject', 'change:desc', 'change:announce', 'change:restrict', 'change:ephemeralDuration']) {
    store.on(name, soon);
  }
  store.getModelsArray().forEach(guarded);
}

/** How a group is set, once the page knows. */
function settingsOf({ stale, subject, desc, announce, restrict, ephemeralDuration }: Metadata): GroupSettings | null {
  if (stale === true || typeof subject !== 'string' || subject === '') return null;
  return {
    subject,
    description: typeof desc === 'string' && desc !== '' ? desc : null,
    announce: announce === true,
    restrict: restrict === true,
    ephemeral: seconds(ephemeralDuration),
  };
}
