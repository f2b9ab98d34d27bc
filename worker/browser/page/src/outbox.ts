// Events on their way out, in batches: a history sync adds thousands of messages in a second, and
// each crossing into the worker costs a message on the debugging pipe.

import { withoutNumbers } from './errors';
import { VERSION, type Batch, type Event } from './protocol';

/** A quiet outbox sends at once; a busy one so often. */
const FLUSH_MS = 50;

/** And whenever so many have come together. */
const FLUSH_EVENTS = 64;

/** Different faults that one document may report. */
const MAX_FAULTS = 100;

export class Outbox {
  #events: Event[] = [];
  #seq = 0;
  #lastFlush = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #faults = new Set<string>();

  constructor(
    readonly deliver: (payload: string) => void,
    readonly now: () => number = () => performance.now(),
  ) {}

  push(event: Event): void {
    this.#events.push(event);
    if (this.#events.length >= FLUSH_EVENTS) {
      this.flush();
    } else if (this.#timer === undefined) {
      const wait = Math.max(0, this.#lastFlush + FLUSH_MS - this.now());
      if (wait === 0) this.flush();
      else this.#timer = setTimeout(() => this.flush(), wait);
    }
  }

  /** Reports something that could not be understood: once each, for it may recur with every message. */
  fault(where: string, error: unknown): void {
    const what = `${where}: ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`;
    const short = withoutNumbers(what).slice(0, 300);
    if (this.#faults.has(short) || this.#faults.size >= MAX_FAULTS) return;
    this.#faults.add(short);
    this.push({ type: 'fault', what: short });
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#events.length === 0) return;
    const batch: Batch = { v: VERSION, seq: ++this.#seq, events: this.#events };
    this.#events = [];
    this.#lastFlush = this.now();
    this.deliver(JSON.stringify(batch));
  }
}
