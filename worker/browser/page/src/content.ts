// What a message holds, made ready to be sent. Everything that takes time or can be refused happens here, before the one
// step that cannot be taken back.

import type * as WPP from '@wppconnect/wa-js';
import { Failure, within } from './errors';
import type { Files } from './files';
import { recipient } from './ids';
import type { Library } from './library';
import { prepareMedia } from './media';
import type { Content } from './protocol';
import { messageBy, type ChatModel, type MsgModel } from './store';
import { isStories, story } from './stories';

type Raw = WPP.chat.RawMessage;
type Wid = WPP.whatsapp.Wid;

/** The options that every send has, whatever it holds. */
export interface Fixed {
  messageId: string;
  waitForAck: true;
  markIsRead: false;
  detectMentioned: false;
  quotedMsg?: MsgModel;
}

/** Hands the message over to the page. Nothing of it has been sent before. */
export type Prepared = (fixed: Fixed) => Promise<WPP.chat.SendMessageReturn>;

/** WhatsApp's page gives a preview up after so long, too. */
const PREVIEW_MS = 7_000;

export async function prepare(
  library: Library,
  chat: ChatModel,
  content: Content,
  files: Files,
): Promise<Prepared> {
  const raw = (message: Raw, mentionedList?: Wid[]): Prepared => {
    const mentions = mentionedList === undefined || mentionedList.length === 0 ? {} : { mentionedList };
    return (fixed) => library.chat.sendRawMessage(chat.id, message, { ...fixed, ...mentions });
  };
  switch (content.kind) {
    case 'text': {
      if (isStories(chat)) return story(library, content);
      const { body, people } = await mentioned(library, chat, content.text, content.mentions);
      const preview = content.link_preview ? await linkPreview(library, content.text) : {};
      return raw({ type: 'chat', body, subtype: null, urlText: null, urlNumber: null, ...preview }, people);
    }
    case 'location': {
      const { latitude: lat, longitude: lng, name, address, url } = content;
      const loc = [name, address].filter((line) => line !== null).join('\n');
      return raw({ type: 'location', lat, lng, loc, clientUrl: url ?? undefined });
    }
    case 'contact': {
      const cards = content.contacts.map(({ name, vcard }) => ({ displayName: name, vcard }));
      const [first] = cards;
      if (cards.length === 1 && first !== undefined) {
        return raw({ type: 'vcard', body: first.vcard, vcardFormattedName: first.displayName });
      }
      return raw({ type: 'multi_vcard', vcardList: cards });
    }
    case 'poll':
      return raw({
        type: 'poll_creation',
        pollName: content.question,
        pollOptions: content.options.map((name, localId) => ({ name, localId })),
        // 0 is as many as there are.
        pollSelectableOptionsCount: content.multiple ? 0 : 1,
        pollEncKey: crypto.getRandomValues(new Uint8Array(32)),
        messageSecret: crypto.getRandomValues(new Uint8Array(32)),
      } as Raw);
    case 'media':
      return prepareMedia(library, chat, content, files);
    case 'forward':
      return raw(forwarded(await messageBy(library, content.message)));
  }
}

/** The people of a text, under the ids that the chat uses, and the text naming them by these. */
async function mentioned(
  library: Library,
  chat: ChatModel,
  text: string,
  mentions: string[],
): Promise<{ body: string; people: Wid[] }> {
  let body = text;
  const people: Wid[] = [];
  for (const mention of mentions) {
    const id = recipient(mention);
    if (id === null) throw new Failure('invalid_mention', 'neither a phone number nor an id of a person');
    const named = library.whatsapp.WidFactory.createWid(id);
    const used = await idIn(library, chat, named);
    if (used.user !== named.user) body = body.replaceAll(new RegExp(`@${named.user}(?!\\d)`, 'g'), `@${used.user}`);
    people.push(used);
  }
  return { body, people };
}

/** The id by which this chat knows a person; the given one while the other is not known. */
async function idIn({ whatsapp }: Library, chat: ChatModel, person: Wid): Promise<Wid> {
  const byLid = chat.id.isGroup() ? chat.groupMetadata?.isLidAddressingMode !== false : chat.id.isLid();
  if (person.isLid() === byLid) return person;
  const known = () =>
    byLid ? whatsapp.lidPnCache.getCurrentLid(person) : whatsapp.lidPnCache.getPhoneNumber(person);
  // Asking puts both ids into the cache.
  return known() ?? ((await whatsapp.functions.queryWidExists(person)) && known()) ?? person;
}

/** What WhatsApp's own page makes of the first link; nothing if there is none, or no answer. */
async function linkPreview({ whatsapp }: Library, text: string): Promise<Raw> {
  try {
    const link = whatsapp.functions.findFirstWebLink(text);
    if (link === undefined || link === null) return {};
    const preview = await within(PREVIEW_MS, whatsapp.functions.fetchLinkPreview(link));
    return preview?.data ? ({ subtype: 'url', ...preview.data } as unknown as Raw) : {};
  } catch {
    return {};
  }
}

/** What is passed on of a message: what it says, and not to whom or in answer to what. */
const PASSED_ON: Record<string, string[]> = {
  chat: ['body', 'subtype', 'title', 'description', 'canonicalUrl', 'matchedText', 'thumbnail', 'richPreviewType'],
  location: ['lat', 'lng', 'loc', 'clientUrl', 'body'],
  vcard: ['body', 'vcardFormattedName'],
  multi_vcard: ['vcardList'],
};

/** WhatsApp's own page can do this, too, but lets nobody choose the id under which it is sent. */
export function forwarded(message: MsgModel): Raw {
  const type = String(message.type);
  const fields = PASSED_ON[type];
  if (fields === undefined) throw new Failure('not_forwardable', `a message of the type ${type} cannot be passed on`);
  const attributes = message as unknown as Record<string, unknown>;
  const said = Object.fromEntries(
    fields.map((name) => [name, attributes[name]]).filter(([, value]) => value !== undefined),
  );
  const score = Number(attributes.forwardingScore ?? 0) + 1;
  return { type, ...said, isForwarded: true, forwardingScore: score } as Raw;
}
