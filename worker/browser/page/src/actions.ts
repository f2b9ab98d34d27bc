// What the worker asks for besides sending. Each of these but `group.create` may be asked for again without doing more than
// the first time, and says so without asking the server where the page already knows that it is done.

import { existingChat } from './chats';
import { Failure } from './errors';
import type { Files } from './files';
import { changeParticipants, changeSettings, create, invite, leave, type Change, type Settings } from './groups';
import { STORIES, recipient, user } from './ids';
import { labelChat, labels, labelsOf } from './labels';
import type { Library } from './library';
import { chats, contacts, group, groups, history } from './lists';
import { check } from './people';
import { changePicture } from './pictures';
import { isPinned, pin, type PinTime } from './pins';
import { Recent } from './recent';
import { messageBy, type ChatModel } from './store';
import { chatsOf, plan } from './sync';

type Act = (library: Library, data: never, files: Files) => Promise<unknown>;

/** The page changes what it shows when the server has agreed, which takes some 100 ms. */
const SHOWN_WITHIN_MS = 10_000;

const LOOK_EVERY_MS = 50;

const ACTIONS: Record<string, Act> = {
  'message.react': async (library, { message, emoji }: { message: string; emoji: string | null }) => {
    const model = await messageBy(library, message);
    const { sendMsgResult } = await library.chat.sendReactionToMessage(model, emoji ?? '');
    accepted(sendMsgResult);
  },

  'message.edit': async (library, { message, text }: { message: string; text: string }) => {
    const model = await messageBy(library, message);
    if (model.type === 'revoked') throw new Failure('not_allowed', 'the message was taken back');
    if (model.body === text.trim()) return;
    await library.chat.editMessage(String(model.id), text, {
      linkPreview: false,
      detectMentioned: false,
      markIsRead: false,
    });
  },

  'message.delete': async (library, { message }: { message: string }) => {
    const model = await messageBy(library, message);
    if (model.type === 'revoked') return;
    if (user(model.id.remote) === STORIES) {
      await library.status.remove(String(model.id));
      return;
    }
    const chat = library.whatsapp.ChatStore.get(model.id.remote);
    if (!chat) throw new Failure('chat_not_found', 'the chat of the message is gone');
    // wa-js would delete it from this device alone where it cannot be taken back.
    if (!model.id.fromMe && chat.groupMetadata?.participants.iAmAdmin() !== true) {
      throw new Failure('not_allowed', 'only the writer or an administrator can take a message back');
    }
    const { Cmd } = library.whatsapp as unknown as { Cmd: { sendRevokeMsgs(...given: unknown[]): Promise<unknown> } };
    await Cmd.sendRevokeMsgs(chat, { type: 'message', list: [model] }, { clearMedia: false });
    await shown('the message was not taken back', () => String(model.type) === 'revoked');
  },

  'message.star': async (library, { message, star }: { message: string; star: boolean }) => {
    const model = await messageBy(library, message);
    if (Boolean(model.star) === star) return;
    await library.chat.starMessage(String(model.id), star);
    await shown('the mark was not set', () => Boolean(model.star) === star);
  },

  'chat.typing': async (library, { chat, typing }: { chat: string; typing: boolean }) => {
    const { id } = await chatBy(library, chat);
    await (typing ? library.chat.markIsComposing(id) : library.chat.markIsPaused(id));
  },

  'chat.recording': async (library, { chat, recording }: { chat: string; recording: boolean }) => {
    const { id } = await chatBy(library, chat);
    await (recording ? library.chat.markIsRecording(id) : library.chat.markIsPaused(id));
  },

  'chat.seen': async (library, { chat }: { chat: string }) => {
    await library.chat.markIsRead((await chatBy(library, chat)).id);
  },

  'chat.archive': async (library, { chat, archive }: { chat: string; archive: boolean }) => {
    const model = await chatBy(library, chat);
    if (Boolean(model.archive) === archive) return;
    await library.chat.archive(model.id, archive);
    await shown('the chat was not archived', () => Boolean(model.archive) === archive);
  },

  'chat.mute': async (library, { chat, mute, until }: { chat: string; mute: boolean; until: string | null }) => {
    const model = (await chatBy(library, chat)) as unknown as { mute: Mute };
    // −1 is for ever.
    const expiration = until === null ? -1 : Math.floor(Date.parse(until) / 1000);
    if (!mute) {
      if (model.mute.expiration !== 0) await model.mute.unmute({ sendDevice: true });
      return;
    }
    if (until !== null && expiration * 1000 <= Date.now()) throw new Failure('not_allowed', 'the moment has passed');
    await model.mute.mute({ expiration, isAutoMuted: false, sendDevice: true });
  },

  'chat.pin': async (library, { chat, pin }: { chat: string; pin: boolean }) => {
    const model = await chatBy(library, chat);
    if (Boolean(model.pin) === pin) return;
    await library.chat.pin(model.id, pin);
    await shown('the chat was not pinned; WhatsApp pins a few at most', () => Boolean(model.pin) === pin);
  },

  'label.list': async (library) => labels(library),

  'chat.label': async (library, { chat, label, labelled }: { chat: string; label: string; labelled: boolean }) => {
    const model = await chatBy(library, chat);
    await labelChat(library, model, label, labelled);
    await shown('the label was not set', () => labelsOf(model).includes(label) === labelled);
  },

  'presence.set': async (library, { available }: { available: boolean }) => {
    await library.conn.markAvailable(available);
  },

  'contact.check': (library, { contact }: { contact: string }) => check(library, contact),

  'chat.list': async (library, asked: Parameters<typeof chats>[1]) => chats(library, asked),

  'chat.history': async (library, { chat, ...asked }: { chat: string; limit: number; cursor: string | null }) =>
    history(library, await chatBy(library, chat), asked),

  'sync.plan': async (library, asked: Parameters<typeof plan>[1]) => plan(library, asked),

  'sync.chats': async (library, asked: Parameters<typeof chatsOf>[1]) => chatsOf(library, asked),

  'contact.list': async (library, asked: Parameters<typeof contacts>[1]) => contacts(library, asked),

  'group.list': async (library, asked: Parameters<typeof groups>[1]) => groups(library, asked),

  'group.info': async (library, { group: id }: { group: string }) => group(library, await chatBy(library, id)),

  'group.participants': async (library, asked: { group: string; change: Change; participants: string[] }) =>
    changeParticipants(library, await chatBy(library, asked.group), asked.change, asked.participants),

  'group.settings': async (library, { group: id, ...wanted }: { group: string } & Settings) =>
    changeSettings(library, await chatBy(library, id), wanted),

  'group.picture': async (
    library,
    { group: id, file, mime }: { group: string; file: string | null; mime?: string },
    files,
  ) => {
    const picture = file === null ? null : files.take(file, 'picture', mime ?? '');
    await changePicture(library, await chatBy(library, id), picture);
  },

  'group.leave': async (library, { group: id }: { group: string }) => leave(library, await chatBy(library, id)),

  'message.pin': async (
    library,
    { message, pin: wanted, duration }: { message: string; pin: boolean; duration: PinTime },
  ) => {
    const model = await messageBy(library, message);
    if (model.type === 'revoked') throw new Failure('not_allowed', 'the message was taken back');
    if (isPinned(library, model) === wanted) return;
    accepted(await pin(library, model, wanted, duration));
    await shown('the message was not pinned', () => isPinned(library, model) === wanted);
  },

  'call.reject': async (library, { call }: { call: string }) => {
    if (rejected.has(call)) return;
    await library.call.reject(call);
    rejected.set(call, true);
  },

  'group.create': async (library, { subject, participants }: { subject: string; participants: string[] }) =>
    create(library, subject, participants),

  'group.invite': async (library, { group: id, revoke }: { group: string; revoke: boolean }) =>
    invite(library, await chatBy(library, id), revoke),

  'contact.block': async (library, { contact, block }: { contact: string; block: boolean }) => {
    const known = await check(library, contact);
    if (!known.on_whatsapp) throw new Failure('no_such_number', 'this number has no WhatsApp');
    const id = known.lid ?? recipient(contact) ?? contact;
    const { isBlocked } = await (block ? library.blocklist.blockContact(id) : library.blocklist.unblockContact(id));
    if (isBlocked !== block) throw new Failure('not_done', 'the page does not show the contact as asked');
  },
};

/** Calls that were ended from here, so that ending one again is no failure. */
const rejected = new Recent<true>(100);

interface Mute {
  expiration: number;
  mute(options: { expiration: number; isAutoMuted: false; sendDevice: true }): Promise<unknown>;
  unmute(options: { sendDevice: true }): Promise<unknown>;
}

/** Does what a command of this type asks for. */
export async function act(library: Library, type: string, data: unknown, files: Files): Promise<unknown> {
  const action = Object.hasOwn(ACTIONS, type) ? ACTIONS[type] : undefined;
  if (action === undefined) throw new Failure('unknown_call', `no action ${type}`);
  return (await action(library, data as never, files)) ?? null;
}

async function chatBy(library: Library, to: string): Promise<ChatModel> {
  const chat = await existingChat(library, to);
  if (chat === undefined) throw new Failure('chat_not_found', 'this account has no such chat');
  return chat;
}

/** A send is answered with a word, or with an object that holds the word. */
function accepted(result: unknown): void {
  const word =
    typeof result === 'object' && result !== null
      ? (result as { messageSendResult?: unknown }).messageSendResult
      : result;
  if (word !== undefined && word !== null && word !== 'OK') throw new Failure('not_done', String(word));
}

/** Waits until the page shows that something was done. */
async function shown(otherwise: string, isDone: () => boolean): Promise<void> {
  const until = performance.now() + SHOWN_WITHIN_MS;
  while (!isDone()) {
    if (performance.now() > until) throw new Failure('not_done', otherwise);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
