// The adapter: evaluated by the worker into every new document of the tab, with the debugging
// protocol and not as a script of the page, so the page's content policy has no say.
//
// It first only waits for the page to be itself, then reports its state and the QR from the page's
// own models; wa-js comes in when linking begins or the device is linked. Nothing of it stays
// visible in the page: the worker holds the returned object, the binding is taken and removed.

import { act } from './actions';
import { Acks } from './acks';
import { capabilities } from './capabilities';
import { watchChanges } from './changes';
import { Failure, describe, within } from './errors';
import { Files } from './files';
import { watchGroupSettings } from './groups';
import { History, type Cursor } from './history';
import { LazyLibrary, type Library } from './library';
import { linkCode, watchLinkCodes } from './linking';
import { watchMessages } from './live';
import { fileOf } from './media';
import { Outbox } from './outbox';
import { Ownership } from './ownership';
import { watchLabels } from './labels';
import { Passkeys } from './passkey';
import { coreModules } from './probe';
import { VERSION, type Answer, type Assertion, type Draft, type Options, type Status } from './protocol';
import { Qr } from './qr';
import { Sender, SentIds } from './send';
import { Vigil } from './vigil';
import { site } from './site';
import { watchStalled } from './stalled';
import { socketState, status, streamMode, watchStatus } from './status';

type Handler = (args: never, deadline: number) => unknown;

class Adapter {
  readonly version = VERSION;
  /** Reached by the worker, which has files put in. */
  readonly files = new Files();
  readonly #outbox: Outbox;
  readonly #ownership: Ownership;
  readonly #qr: Qr;
  readonly #passkeys: Passkeys;
  readonly #library: LazyLibrary;
  readonly #sent = new SentIds();
  readonly #sender: Sender;
  readonly #history: History;
  readonly #vigil: Vigil;
  #probed = false;
  #linking = false;

  constructor(options: Options) {
    this.#outbox = new Outbox(takeBinding(options.binding));
    this.#ownership = new Ownership(options.owned_until);
    this.#qr = new Qr(this.#outbox);
    this.#passkeys = new Passkeys(this.#outbox);
    this.#passkeys.install();
    this.#sender = new Sender(this.#ownership, this.#sent, this.files);
    this.#history = new History(this.#sent, this.#outbox);
    this.#vigil = new Vigil(this.#outbox, options.quiet_ms, {
      connected: () => streamMode() === 'MAIN' && socketState() === 'CONNECTED',
      ask: async () => askServer(await this.#library.get()),
    });
    const acks = new Acks();
    this.#library = new LazyLibrary(
      () => this.#outbox.push({ type: 'phase', phase: 'library' }),
      (library) => {
        watchMessages(library, this.#outbox, this.#sent, acks, () => this.#vigil.heard());
        watchChanges(library, this.#outbox, () => this.#vigil.heard());
        watchGroupSettings(library, this.#outbox);
        watchStalled(library, this.#outbox, options.stalled_ms);
        watchLabels(library, this.#outbox);
        this.#vigil.start();
        watchLinkCodes(library, this.#outbox);
        this.#outbox.push({ type: 'ready', capabilities: capabilities(library) });
      },
    );
  }

  async start(): Promise<void> {
    await coreModules();
    this.#probed = true;
    this.#outbox.push({ type: 'phase', phase: 'probed' });
    void this.#library.prepare();
    watchStatus(this.#outbox, (now) => this.#look(now));
  }

  /** Cheap and synchronous: proves that the page answers, and carries the worker's ownership. */
  beat(ownedUntil: number): number {
    this.#ownership.until = ownedUntil;
    return VERSION;
  }

  /** The file of a message, to be read by the browser; or, in its place, why there is none. */
  async fileOf(key: string, timeoutMs: number): Promise<Blob | Answer> {
    try {
      if (!this.#probed) throw new Failure('not_ready', 'the page is still loading', 'NotReady');
      const work = async () => fileOf(await this.#library.get(), key);
      return await within(timeoutMs, work());
    } catch (error) {
      return { err: describe(error) };
    }
  }

  /** Runs a call of the worker. Never rejects: the answer is a value. */
  async call(name: string, args: unknown, timeoutMs: number): Promise<Answer> {
    try {
      const handler = Object.hasOwn(this.#calls, name) ? this.#calls[name] : undefined;
      if (handler === undefined) throw new Failure('unknown_call', `no call ${name}`);
      if (!this.#probed) throw new Failure('not_ready', 'the page is still loading', 'NotReady');
      const work = async () => handler(args as never, performance.now() + timeoutMs);
      return { ok: (await within(timeoutMs, work())) ?? null };
    } catch (error) {
      return { err: describe(error) };
    }
  }

  readonly #calls: Record<string, Handler> = {
    status: (): Status => status(),

    refresh_qr: () => this.#qr.refresh(),

    link_code: async ({ phone }: { phone: string }) => linkCode(await this.#library.get(), phone, this.#outbox),

    answer_passkey: ({ id, assertion }: { id: string; assertion: Assertion | null }) =>
      this.#passkeys.answer(id, assertion),

    // wa-js' own logout waits for an event that WhatsApp no longer raises. The worker waits for the
    // state to change instead.
    logout: () => site('WAWebSocketModel').Socket.logout(),

    send: async (message: Draft, deadline: number) =>
      this.#sender.send(await this.#library.get(), message, deadline),

    act: async ({ type, data }: { type: string; data: unknown }) => {
      this.#ownership.assert();
      const library = await this.#library.get();
      // Starting the library may have taken its time.
      this.#ownership.assert();
      return act(library, type, data, this.files);
    },

    find_message: async ({ to, message_id }: { to: string; message_id: string }) =>
      this.#sender.find(await this.#library.get(), to, message_id),

    find_own: async ({ ids, since }: { ids: string[]; since: number }) =>
      this.#sender.findOwn(await this.#library.get(), ids, since),

    messages_since: async ({ since, after, limit }: Cursor & { limit: number }) =>
      this.#history.behind(await this.#library.get(), { since, after }, limit),
  };

  #look(now: Status): void {
    this.#qr.look(now);
    // Linking begins when a page that showed codes starts to load the account.
    if (now.stream_mode === 'QR') this.#linking = true;
    const linked = now.registered || now.stream_mode === 'MAIN';
    const begins = this.#linking && now.stream_mode === 'SYNCING';
    if ((linked || begins) && !this.#library.started) {
      this.#library.get().catch((error: unknown) => this.#outbox.fault('wa-js', error));
    }
  }
}

/** The smallest question there is: does the own number exist? The answer does not matter. */
async function askServer(library: Library): Promise<unknown> {
  const me = library.whatsapp.UserPrefs.getMaybeMePnUser();
  if (me === undefined || me === null) throw new Error('the own number is not known');
  return library.whatsapp.functions.queryWidExists(me);
}

/** Takes the binding out of the page's sight and returns it. */
function takeBinding(name: string): (payload: string) => void {
  const globals = globalThis as unknown as Record<string, unknown>;
  const binding = globals[name];
  if (typeof binding !== 'function') throw new Error('the binding is missing');
  delete globals[name];
  return (payload) => {
    binding(payload);
  };
}

/** Called once per document by the worker, which keeps the result. */
export function install(options: Options): Adapter {
  const adapter = new Adapter(options);
  void adapter.start();
  return adapter;
}
