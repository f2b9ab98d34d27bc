// wa-js: a function in this bundle that runs when it is first needed, and not before.
//
// It is started when linking begins, when the device is already linked, or when a call needs it.
// Running it costs the page 3.5–7 s and 20 MB, because it looks at every module.

import type * as WPP from '@wppconnect/wa-js';
import { within } from './errors';
import { steadyModules } from './probe';

export type Library = typeof WPP;

/** From its start to its own word that it is ready. */
const READY_WITHIN_MS = 60_000;

const LOOK_EVERY_MS = 50;

interface LibraryGlobals {
  WPP?: Library;
  WPPConfig?: Partial<WPP.Config>;
}

/** What wa-js must not do by itself. */
const CONFIG: Partial<WPP.Config> = {
  // It reports its use to Google Analytics.
  disableGoogleAnalytics: true,
  googleAnalyticsId: null,
  poweredBy: null,
  // It sends texts with links to servers of third parties.
  linkPreviewApiServers: [],
  // It renames the linked device.
  deviceName: false,
  // It downloads everybody's status updates.
  syncAllStatus: false,
};

/** Evaluates wa-js and takes it out of the page's sight: nothing there needs to know that it is here. */
function evaluate(): Library {
  const globals = globalThis as LibraryGlobals;
  globals.WPPConfig = CONFIG;
  require('@wppconnect/wa-js');
  const library = globals.WPP;
  delete globals.WPP;
  if (library === undefined) throw new Error('wa-js did not export itself');
  return library;
}

async function ready(library: Library): Promise<Library> {
  while (!library.isReady) await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  return library;
}

export class LazyLibrary {
  #steady: Promise<void> | undefined;
  #loading: Promise<Library> | undefined;

  constructor(
    /** Runs once wa-js has been evaluated and before it is ready. */
    readonly onStart: () => void,
    /** Runs once, when wa-js is ready, before anybody gets it. */
    readonly onReady: (library: Library) => void,
  ) {}

  /** To be called when the page's core modules are there: begins to wait for the rest. */
  prepare(): Promise<void> {
    this.#steady ??= steadyModules();
    return this.#steady;
  }

  /** wa-js, ready; started now if it was not. */
  get(): Promise<Library> {
    this.#loading ??= this.#load();
    return this.#loading;
  }

  get started(): boolean {
    return this.#loading !== undefined;
  }

  async #load(): Promise<Library> {
    await this.prepare();
    this.onStart();
    const library = await within(READY_WITHIN_MS, ready(evaluate()));
    this.onReady(library);
    return library;
  }
}
