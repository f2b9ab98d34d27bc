// What becomes of messages after they were written, and what people do besides writing.

import { user, userOrNull, parseKey } from './ids';
import type { Library } from './library';
import { directory, personOf, toMessage, type Directory, type RawMessage } from './messages';
import type { Outbox } from './outbox';
import type { GroupDeed } from './protocol';
import { Recent } from './recent';

/** Messages whose end was reported, so that none is reported twice. */
const REMEMBERED = 2000;

/** Later than any second of this century and earlier than any millisecond of it. */
const FIRST_MILLISECOND = 100_000_000_000;

/** Some of WhatsApp's times are in seconds, some in milliseconds. */
export function unixMs(time: unknown): number | null {
  if (typeof time !== 'number' || !Number.isFinite(time) || time <= 0) return null;
  return Math.floor(time < FIRST_MILLISECOND ? time * 1000 : time);
}

/** What a presence is called outside: WhatsApp's own words but for these. */
const STATES: Record<string, 'available' | 'unavailable' | 'typing' | 'recording'> = {
  available: 'available',
  unavailable: 'unavailable',
  typing: 'typing',
  composing: 'typing',
  recording_audio: 'recording',
  recording: 'recording',
};

/** `heard` runs for whatever can only have come from the server. */
export function watchChanges(library: Library, outbox: Outbox, heard: () => void): void {
  const ids = directory(library);
  const revoked = new Recent<true>(REMEMBERED);
  const guarded = (what: string, report: () => void) => {
    try {
      report();
    } catch (error) {
      outbox.fault(what, error);
    }
  };

  const revoke = (key: string) => {
    const parts = parseKey(key);
    if (parts === null || revoked.has(key) || !isChat(parts.chat)) return;
    revoked.set(key, true);
    outbox.push({ type: 'revoked', key, chat_id: user(parts.chat), from_me: parts.fromMe });
  };
  // From others, also where the message is no longer in memory; and by whatever device, where it is.
  library.on('chat.msg_revoke', ({ refId }) => guarded('revoked', () => (heard(), revoke(String(refId)))));
  library.whatsapp.MsgStore.on('change:type', (model: { id: unknown; type?: unknown }) => {
    if (model.type === 'revoked') guarded('revoked', () => revoke(String(model.id)));
  });

  library.on('chat.msg_edited', ({ msg }) =>
    guarded('edited', () => {
      const raw = msg as unknown as RawMessage & { latestEditSenderTimestampMs?: unknown };
      const message = toMessage(raw, ids, () => null);
      outbox.push({ type: 'edited', message, at_ms: unixMs(raw.latestEditSenderTimestampMs) });
    }),
  );

  library.on('chat.new_reaction', ({ msgId, reactionText, sender, timestamp }) =>
    guarded('reaction', () => {
      heard();
      const place = placeOf(msgId);
      if (place === null) return;
      const emoji = typeof reactionText === 'string' && reactionText !== '' ? reactionText : null;
      outbox.push({ type: 'reaction', ...place, ...whose(sender, ids), emoji, at_ms: unixMs(timestamp) ?? Date.now() });
    }),
  );

  library.on('chat.poll_response', ({ msgId, selectedOptions, sender, timestamp }) =>
    guarded('vote', () => {
      heard();
      const place = placeOf(msgId);
      if (place === null) return;
      // By number of the answer, with holes where one was not chosen.
      const options = (selectedOptions as ({ name?: unknown } | undefined)[])
        .filter((option) => option !== undefined && option !== null)
        .map((option) => String(option?.name ?? ''));
      outbox.push({ type: 'vote', ...place, ...whose(sender, ids), options, at_ms: unixMs(timestamp) ?? Date.now() });
    }),
  );

  library.on('chat.presence_change', (change) =>
    guarded('presence', () => {
      heard();
      const chat_id = user(change.id);
      if (!isChat(chat_id)) return;
      if (change.isGroup !== true) {
        const state = STATES[String(change.state)];
        if (state !== undefined) outbox.push({ type: 'presence', chat_id, participant: null, state });
        return;
      }
      for (const { id, state: word } of (change.participants ?? []) as { id: string; state: string }[]) {
        const state = STATES[word];
        if (state !== undefined) outbox.push({ type: 'presence', chat_id, participant: userOrNull(id), state });
      }
    }),
  );

  library.on('group.participant_changed', ({ groupId, action, author, participants }) =>
    guarded('group', () => {
      heard();
      const by = userOrNull(author);
      outbox.push({
        type: 'group',
        chat_id: user(groupId),
        // wa-js says `leave`, whatever its declaration says.
        change: action as unknown as GroupDeed,
        author: by === null ? null : personOf(by, ids),
        participants: participants.map((id) => personOf(user(id), ids)),
      });
    }),
  );

  const calls = new Recent<true>(REMEMBERED);
  const call = ({ id, peerJid, isVideo, isGroup, offerTime }: CallModel) =>
    guarded('call', () => {
      if (calls.has(String(id))) return;
      calls.set(String(id), true);
      heard();
      outbox.push({
        type: 'call',
        id: String(id),
        sender: personOf(user(peerJid), ids),
        video: isVideo === true,
        group: isGroup === true,
        at_ms: unixMs(offerTime) ?? Date.now(),
      });
    });
  library.on('call.incoming_call', (told) => call(told as unknown as CallModel));
  // wa-js tells of no call that has rung before it listened.
  guarded('call', () => {
    const { CallStore, enums } = library.whatsapp;
    const states = enums.CALL_STATES as unknown as Record<string, unknown>;
    (CallStore.getModelsArray() as unknown as CallModel[]).filter((model) => rings(model, states)).forEach(call);
  });
}

interface CallModel {
  id: unknown;
  peerJid?: unknown;
  isVideo?: unknown;
  isGroup?: unknown;
  offerTime?: unknown;
  outgoing?: unknown;
  getState?(): unknown;
}

/** WhatsApp's names, of several years, for the states of a call that somebody else has begun and nobody has taken. */
const RINGING = ['INCOMING_RING', 'ReceivedCall', 'ReceivedCallWithoutOffer'];

/** Whether somebody calls, and nobody has taken the call. */
export function rings(call: Pick<CallModel, 'outgoing' | 'getState'>, states: Record<string, unknown>): boolean {
  const state = call.getState?.();
  return call.outgoing !== true && RINGING.some((name) => states[name] !== undefined && states[name] === state);
}

function isChat(id: string): boolean {
  return /@(c\.us|lid|g\.us)$/.test(id);
}

function placeOf(key: unknown): { key: string; chat_id: string } | null {
  const parts = parseKey(String(key));
  return parts === null || !isChat(parts.chat) ? null : { key: String(key), chat_id: user(parts.chat) };
}

function whose(sender: unknown, ids: Directory): { sender: ReturnType<typeof personOf>; from_me: boolean } {
  const id = user(sender);
  const person = personOf(id, ids);
  return { sender: person, from_me: ids.isMe(id) };
}
