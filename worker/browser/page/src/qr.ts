// The code to scan, put together from the page's own models as the page itself does for its
// picture: the server's reference and the three public parts of the keys that this device made.

import type { Outbox } from './outbox';
import type { Status } from './protocol';
import { site } from './site';

/** The code that is valid now; null while there is none. */
async function currentCode(): Promise<{ ref: string; code: string } | null> {
  const { Conn } = site('WAWebConnModel');
  const ref = Conn.ref;
  if (!ref || Conn.connected) return null;
  const { encodeB64 } = site('WABase64');
  const [noise, identity, secret] = await Promise.all([
    site('WAWebUserPrefsInfoStore').waNoiseInfo.get(),
    site('WAWebSignalStoreApi').waSignalStore.getRegistrationInfo(),
    site('WAWebAdvSignatureApi').getADVSecretKey(),
  ]);
  const parts = [ref, encodeB64(noise.staticKeyPair.pubKey), encodeB64(identity.identityKeyPair.pubKey), secret];
  return { ref, code: parts.join(',') };
}

/**
 * Which code is the first of a series. WhatsApp gives out six references for one connection; when
 * they are used up, or the connection is new, the next code begins a new series.
 */
export class Series {
  #fresh = true;

  /** Notes what the socket says. */
  socket(state: string | null): void {
    if (state === 'OPENING' || state === 'PAIRING' || state === 'UNPAIRED_IDLE') this.#fresh = true;
  }

  /** The codes begin anew, because somebody asked for it or because they have stopped. */
  restart(): void {
    this.#fresh = true;
  }

  /** Whether the code that is shown now is the first of its series. */
  next(): boolean {
    const first = this.#fresh;
    this.#fresh = false;
    return first;
  }
}

export class Qr {
  readonly series = new Series();
  #shown: string | null = null;
  #idle = false;

  constructor(readonly outbox: Outbox) {}

  /** To be called with every look at the status. */
  look(now: Status): void {
    this.series.socket(now.socket_state);
    const idle = !now.registered && now.socket_state === 'UNPAIRED_IDLE';
    if (idle && !this.#idle) this.outbox.push({ type: 'qr_idle' });
    this.#idle = idle;
    if (now.registered || idle) {
      this.#shown = null;
      this.series.restart();
      return;
    }
    this.#show().catch((error: unknown) => this.outbox.fault('qr', error));
  }

  refresh(): void {
    this.series.restart();
    site('WAWebBackendEventBus').BackendEventBus.triggerRefreshQR();
  }

  async #show(): Promise<void> {
    const current = await currentCode();
    // Reading the keys took a moment: only what is still valid and not shown yet counts.
    if (current === null || current.code === this.#shown) return;
    if (site('WAWebConnModel').Conn.ref !== current.ref) return;
    this.#shown = current.code;
    this.outbox.push({ type: 'qr', code: current.code, first: this.series.next() });
  }
}
