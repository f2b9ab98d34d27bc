// Messages at the top of their chat. wa-js' own function for it looks for the pins of the page in the class of their
// collection, where the page exports both, and fails there; so WhatsApp's function is called as wa-js would call it.

import { Failure } from './errors';
import type { Library } from './library';
import { site } from './site';
import type { MsgModel } from './store';

/** WhatsApp's names for how long a message is pinned. */
const TIMES = { '1d': 'OneDay', '7d': 'SevenDays', '30d': 'ThirtyDays' } as const;

export type PinTime = keyof typeof TIMES;

interface Pins {
  getByParentMsgKey(key: unknown): { pinType?: unknown } | undefined;
}

function pins({ whatsapp }: Library): Pins {
  for (const find of [() => site('WAWebPinInChatCollection').PinInChatCollection, () => whatsapp.PinInChatStore]) {
    try {
      const found = find() as unknown as Partial<Pins> | undefined;
      if (typeof found?.getByParentMsgKey === 'function') return found as Pins;
    } catch {
      // The page does not have it under this name.
    }
  }
  throw new Failure('incompatible', 'the page does not tell which messages are pinned');
}

export function isPinned(library: Library, message: MsgModel): boolean {
  const { PIN } = library.whatsapp.enums.PIN_STATE;
  return pins(library).getByParentMsgKey(message.id)?.pinType === PIN;
}

/** Pins a message or takes the pin back, and gives WhatsApp's word for what became of it. */
export async function pin({ whatsapp }: Library, message: MsgModel, wanted: boolean, time: PinTime): Promise<unknown> {
  const { enums, functions } = whatsapp;
  const chat = whatsapp.ChatStore.get(message.id.remote);
  if (!chat) throw new Failure('chat_not_found', 'the chat of the message is gone');
  if (message.isNotification || message.isViewOnce) throw new Failure('not_allowed', 'such a message cannot be pinned');
  if (chat.id.isGroup()) {
    const group = chat.groupMetadata;
    const isForAdmins = group?.restrict === true || group?.announce === true;
    if (group?.participants.iAmMember() === false || (isForAdmins && group?.participants.iAmAdmin() === false)) {
      throw new Failure('not_allowed', 'this account may not pin messages in the group');
    }
  }
  // Nobody else has it yet, so nobody could be told which one is pinned.
  if ((message.ack ?? 0) < enums.ACK.SENT) throw new Failure('not_done', 'the message is not sent yet');
  const state = wanted ? enums.PIN_STATE.PIN : enums.PIN_STATE.UNPIN;
  return functions.sendPinInChatMsg(message, state, wanted ? duration(enums, TIMES[time]) : undefined);
}

type Enums = Library['whatsapp']['enums'];

/** Each is its own name; should the page hide the list of them, the name will do. */
function duration(enums: Enums, name: (typeof TIMES)[PinTime]): Enums['PinExpiryDurationOption'][typeof name] {
  const known = enums.PinExpiryDurationOption as Enums['PinExpiryDurationOption'] | undefined;
  return known?.[name] ?? (name as unknown as Enums['PinExpiryDurationOption'][typeof name]);
}
