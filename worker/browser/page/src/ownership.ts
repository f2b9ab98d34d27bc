// The dead man's switch. The worker keeps telling until when it owns the session; when it falls
// silent (stopped, cut off, frozen) somebody else may own it, and this page must not send any more.
//
// The moment is an absolute time of the clock that worker and page share, so that a message which
// was delayed on its way cannot extend anything. That clock may be set back meanwhile, so what was
// left when the moment was told is also counted on a clock that nobody sets.

import { Failure } from './errors';

export class Ownership {
  #until = -Infinity;
  #steadyUntil = -Infinity;

  constructor(
    until: number,
    readonly now: () => number = () => Date.now(),
    readonly steady: () => number = () => performance.now(),
  ) {
    this.until = until;
  }

  set until(unixMs: number) {
    if (!Number.isFinite(unixMs)) return;
    this.#until = unixMs;
    this.#steadyUntil = this.steady() + (unixMs - this.now());
  }

  /** Throws unless the worker owns the session now. */
  assert(): void {
    if (this.now() > this.#until || this.steady() > this.#steadyUntil) {
      throw new Failure('not_owner', 'the worker has not said for too long that it owns the session', 'NotOwner');
    }
  }
}
