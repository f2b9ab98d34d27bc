// Waiting for the page to be itself. wa-js injected at document start, or between two of the
// page's script bundles, was measured never to become ready; so nothing of it runs before the core
// modules are there, and before they have stopped increasing for a moment.

import { missingCore, moduleCount } from './site';

const EVERY_MS = 100;

/** WhatsApp's script bundles follow each other faster than this. */
const STEADY_MS = 500;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until all core modules are registered. The worker reloads a page where this takes too long. */
export async function coreModules(): Promise<void> {
  while (missingCore().length > 0) await sleep(EVERY_MS);
}

/** Waits until no module was added for a while. */
export async function steadyModules(): Promise<void> {
  let count = moduleCount();
  for (let steady = 0; steady < STEADY_MS; steady += EVERY_MS) {
    await sleep(EVERY_MS);
    const now = moduleCount();
    if (now !== count) {
      count = now;
      steady = 0;
    }
  }
}
