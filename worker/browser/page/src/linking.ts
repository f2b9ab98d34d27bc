// Linking by a code that is typed on the phone.

import { Failure } from './errors';
import type { Library } from './library';
import type { Outbox } from './outbox';

/** After this WhatsApp Web replaces a code that was not used. */
const VALID_SECONDS = 195;

function show(outbox: Outbox, code: string): void {
  outbox.push({ type: 'link_code', code, expires_at: Math.floor(Date.now() / 1000) + VALID_SECONDS });
}

/** Whether the page can tell that it wants another code. */
function managed({ whatsapp }: Library): boolean {
  try {
    return typeof whatsapp.LinkDeviceEvents?.on === 'function';
  } catch {
    return false;
  }
}

export function watchLinkCodes(library: Library, outbox: Outbox): void {
  library.on('conn.link_code_change', (code) => show(outbox, code));
}

/** Asks for a code; replacements come as events where the page can tell. */
export async function linkCode(library: Library, phone: string, outbox: Outbox): Promise<string> {
  if (!/^\d{5,20}$/.test(phone)) throw new Failure('invalid_phone', 'a phone number is its digits with the country code');
  if (managed(library)) {
    library.conn.cancelLinkDeviceCode();
    return library.conn.startLinkDeviceCodeForPhoneNumber(phone, true);
  }
  const code = await library.conn.genLinkDeviceCodeForPhoneNumber(phone, true);
  show(outbox, code);
  return code;
}
