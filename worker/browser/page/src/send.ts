// Sending at most once. The id of a message is chosen by the worker before it is sent, so a message
// that went out, but whose answer was lost, is found here instead of being sent again.

import { chatFor, existingChat } from './chats';
import { prepare } from './content';
import { Failure, describe, isDuplicate, within } from './errors';
import type { Files } from './files';
import { user } from './ids';
import type { Library } from './library';
import type { Ownership } from './ownership';
import type { Draft, Sent } from './protocol';
import { Recent } from './recent';
import { keyIn, lookUp, messageBy, type ChatModel, type MsgModel } from './store';

/** Own messages of this document that are remembered as sent from here. */
const REMEMBERED = 2000;

/** So much of a call's time is kept back to say how far the message has come. */
const REPORT_MS = 500;

/** How often a message that was found waiting is looked at. */
const LOOK_EVERY_MS = 100;

/** The ids that were sent from here: they tell own messages from those written on the phone. */
export class SentIds {
  #ids = new Recent<true>(REMEMBERED);

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  add(id: string): void {
    this.#ids.set(id, true);
  }
}

export class Sender {
  constructor(
    readonly ownership: Ownership,
    readonly sent: SentIds,
    readonly files: Files,
  ) {}

  /** Sends a message and waits for the server's ack, at most until `deadline` (of `performance.now`). */
  async send(library: Library, message: Draft, deadline: number): Promise<Sent> {
    this.ownership.assert();
    checkId(message.message_id);
    const chat = await chatFor(library, message.to);
    const key = keyIn(library, chat, message.message_id);
    this.sent.add(message.message_id);

    const found = await lookUp(library, key);
    if (found !== null) return this.#follow(chat, key, found, deadline);

    const quoted = message.reply_to === null ? {} : { quotedMsg: await messageBy(library, message.reply_to) };
    const prepared = await prepare(library, chat, message.content, this.files);
    // The look-ups took their time; the session may be somebody else's by now.
    this.ownership.assert();
    const sending = prepared({ messageId: key, waitForAck: true, markIsRead: false, detectMentioned: false, ...quoted });
    try {
      const result = await within(left(deadline), sending);
      const model = await lookUp(library, key);
      const ack = Math.max(result.ack, model?.ack ?? result.ack);
      const outcome = result.sendMsgResult?.messageSendResult ?? 'OK';
      if (outcome !== 'OK' && (ack < 0 || model === null)) throw new Failure('send_failed', String(outcome));
      // The line was cut during the send: the page holds the message and repeats it as soon as it has a line again.
      if (ack === 0 && model !== null) return { ...(await this.#follow(chat, key, model, deadline)), found: false };
      return { key, chat_id: user(chat.id), ack, found: false, timestamp: model?.t ?? now() };
    } catch (error) {
      if (isDuplicate(error)) {
        // Only the database knew it: it went to the server before, or waits to.
        const model = await lookUp(library, key);
        if (model !== null) return this.#follow(chat, key, model, deadline);
        return { key, chat_id: user(chat.id), ack: 0, found: true, timestamp: now() };
      }
      if (describe(error).code !== 'timeout') throw error;
      // No ack in time. If the page holds the message, it sends it as soon as it can.
      const model = library.whatsapp.MsgStore.get(key);
      if (model === undefined || model === null) throw error;
      return report(chat, key, model, false);
    }
  }

  async find(library: Library, to: string, id: string): Promise<Sent | null> {
    checkId(id);
    const chat = await existingChat(library, to);
    if (chat === undefined) return null;
    const key = keyIn(library, chat, id);
    const model = await lookUp(library, key);
    return model === null ? null : report(chat, key, model, true);
  }

  /**
   * Own messages by their ids alone, wherever they were sent: what a worker asks who knows that it sent them and not to
   * whom. Chats without anything since then are not searched.
   */
  async findOwn(library: Library, ids: string[], since: number): Promise<Sent[]> {
    ids.forEach(checkId);
    const found: Sent[] = [];
    for (const chat of library.whatsapp.ChatStore.getModelsArray()) {
      if (typeof chat.t === 'number' && chat.t < since) continue;
      for (const id of ids) {
        const key = keyIn(library, chat, id);
        const model = await lookUp(library, key);
        if (model !== null) found.push(report(chat, key, model, true));
      }
    }
    return found;
  }

  /** A message that was there already: if it still waits for its ack, so do we. */
  async #follow(chat: ChatModel, key: string, model: MsgModel, deadline: number): Promise<Sent> {
    while ((model.ack ?? 0) === 0 && left(deadline) > LOOK_EVERY_MS) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
    if ((model.ack ?? 0) < 0) throw new Failure('send_failed', `the message was given up (ack ${model.ack})`);
    return report(chat, key, model, true);
  }
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}

function left(deadline: number): number {
  return Math.max(0, deadline - REPORT_MS - performance.now());
}

function checkId(id: string): void {
  if (!/^3EB0[0-9A-F]{18}$/.test(id)) throw new Failure('invalid_message_id', 'not 3EB0 and 18 hexadecimal digits');
}

function report(chat: ChatModel, key: string, model: MsgModel, found: boolean): Sent {
  return { key, chat_id: user(chat.id), ack: model.ack ?? 0, found, timestamp: model.t ?? now() };
}
