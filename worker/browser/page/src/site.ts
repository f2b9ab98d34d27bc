// WhatsApp Web's own modules, reached by name and without wa-js: what is needed before linking.
// A fresh page shows its QR seconds earlier that way, because wa-js has to run every one of the
// page's modules first.
//
// Names are those of WhatsApp Web 2.3000 (2026). Types are wa-js' declarations of the same objects.

import type * as WPP from '@wppconnect/wa-js';

type WhatsApp = typeof WPP.whatsapp;

/** The modules and the exports that are read from them. */
interface Modules {
  WAWebConnModel: Pick<WhatsApp, 'Conn'>;
  WAWebStreamModel: Pick<WhatsApp, 'Stream'>;
  WAWebSocketModel: Pick<WhatsApp, 'Socket'>;
  WAWebBackendEventBus: { BackendEventBus: { triggerRefreshQR(): void } };
  WAWebUserPrefsMultiDevice: Pick<WhatsApp['functions'], 'isRegistered'>;
  WAWebUserPrefsIsLoggedIn: { isLoggedIn?: () => boolean; isAuthenticated?: () => boolean };
  WAWebUserPrefsMeUser: WhatsApp['UserPrefs'];
  WAWebUserPrefsInfoStore: Pick<WhatsApp['multidevice'], 'waNoiseInfo'>;
  WAWebSignalStoreApi: Pick<WhatsApp['multidevice'], 'waSignalStore'>;
  WAWebAdvSignatureApi: Pick<WhatsApp['multidevice']['adv'], 'getADVSecretKey'>;
  WABase64: Pick<WhatsApp['Base64'], 'encodeB64'>;
  WAWebLabelCollection: { LabelCollection?: unknown };
  WAWebPinInChatCollection: { PinInChatCollection?: unknown };
  WAWebReachoutTimelockUtils: { isUserReachoutTimelocked(): boolean };
  WAWebBuildConstants: { VERSION_STR?: string; VERSION_BASE?: string };
}

/** Without these the page is not WhatsApp Web, or not yet: wa-js would give up on it for good. */
const CORE = [
  'WAWebConnModel',
  'WAWebStreamModel',
  'WAWebSocketModel',
  'WAWebBackendEventBus',
  'WAWebUserPrefsMultiDevice',
  'WAWebUserPrefsIsLoggedIn',
  'WAWebUserPrefsMeUser',
  'WAWebUserPrefsInfoStore',
  'WAWebSignalStoreApi',
  'WAWebAdvSignatureApi',
  'WABase64',
  'WAWebCmd',
  'WAWebChatCollection',
  'WAWebMsgCollection',
];

interface PageGlobals {
  require?: (id: string) => unknown;
  Debug?: { VERSION?: string };
}

const page = globalThis as PageGlobals;

function modulesMap(): Record<string, unknown> | null {
  try {
    const debug = page.require?.('__debug') as { modulesMap?: Record<string, unknown> } | undefined;
    return debug?.modulesMap ?? null;
  } catch {
    return null; // The module system itself is still loading.
  }
}

/** How many modules the page has registered so far. */
export function moduleCount(): number {
  const map = modulesMap();
  return map === null ? 0 : Object.keys(map).length;
}

/** The core modules that are not registered yet; all of them while there is no module system. */
export function missingCore(): string[] {
  const map = modulesMap();
  return map === null ? CORE : CORE.filter((id) => !(id in map));
}

/** One of the page's modules. Throws while it, or something that it needs, is not there. */
export function site<Id extends keyof Modules>(id: Id): Modules[Id] {
  if (page.require === undefined) throw new Error('the page has no module system');
  const module = page.require(id);
  if (module === null || typeof module !== 'object') throw new Error(`module ${id} is empty`);
  return module as Modules[Id];
}

/** The version of WhatsApp Web. */
export function version(): string | null {
  try {
    const { VERSION_STR, VERSION_BASE } = site('WAWebBuildConstants');
    return VERSION_STR ?? VERSION_BASE ?? page.Debug?.VERSION ?? null;
  } catch {
    return page.Debug?.VERSION ?? null;
  }
}
