// Who somebody is: asked of the server, which tells both ids.

import { Failure } from './errors';
import { recipient } from './ids';
import type { Library } from './library';
import { directory } from './messages';
import type { ContactAnswer } from './protocol';

/** Asks the server whether somebody is there; it tells both ids on the way. */
export async function check(library: Library, contact: string): Promise<ContactAnswer> {
  const id = recipient(contact);
  if (id === null || id.endsWith('@g.us')) throw new Failure('invalid_recipient', 'neither a phone number nor a person');
  const wid = library.whatsapp.WidFactory.createWid(id);
  const answer = await library.whatsapp.functions.queryWidExists(wid);
  if (answer === null || answer === undefined) return { on_whatsapp: false, phone: null, lid: null, business: null };
  const ids = directory(library);
  const { lid, biz } = answer as { lid?: unknown; biz?: unknown };
  return {
    on_whatsapp: true,
    phone: id.endsWith('@c.us') ? id : ids.phoneOf(id),
    lid: id.endsWith('@lid') ? id : lid ? String(lid) : ids.lidOf(id),
    business: typeof biz === 'boolean' ? biz : null,
  };
}
