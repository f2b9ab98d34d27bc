// Is the server still there? A line may look open and carry nothing: the page says MAIN and CONNECTED, and nobody hears
// it. The page watches its line itself and redials; this is for the case that its watch fails.
//
// A quiet number is not a sick one. So silence alone means nothing: the server is asked a small question then, and only
// if it does not answer twice in a row the line is called dead.

import type { Outbox } from './outbox';

/** How long an answer may take; the server's own is some 100 ms. */
const ANSWER_MS = 15_000;

/** So many unanswered questions in a row are no coincidence. */
const SILENCES = 2;

/** How often it is looked whether it is time to ask. */
const LOOK_EVERY_MS = 1_000;

export interface Watched {
  /** The page says that it is connected. Otherwise it knows by itself that it is not. */
  connected(): boolean;
  /** Asks the server for something small; any answer will do. Rejects at once when it cannot even ask. */
  ask(): Promise<unknown>;
}

export class Vigil {
  #heardAt: number;
  #silences = 0;
  #asking = false;
  #told = false;

  constructor(
    readonly outbox: Outbox,
    /** Without a sign of the server for so long it is asked for one. */
    readonly quietMs: number,
    readonly watched: Watched,
    readonly now: () => number = () => performance.now(),
    readonly answerMs: number = ANSWER_MS,
  ) {
    this.#heardAt = this.now();
  }

  start(): void {
    setInterval(() => void this.look(), Math.min(LOOK_EVERY_MS, this.quietMs));
  }

  /** Something came from the server. */
  heard(): void {
    this.#heardAt = this.now();
    this.#silences = 0;
    this.#told = false;
  }

  /** Asks if it is time to, and reports a line that is dead. */
  async look(): Promise<void> {
    if (!this.watched.connected()) {
      this.heard(); // the page knows, and its state says so
      return;
    }
    // After an unanswered question the next one follows at once.
    if (this.#asking || this.#told || (this.#silences === 0 && this.now() - this.#heardAt < this.quietMs)) return;
    this.#asking = true;
    try {
      const answered = await this.#ask();
      if (answered || !this.watched.connected()) {
        this.heard();
      } else if (++this.#silences >= SILENCES) {
        this.#told = true;
        this.outbox.push({ type: 'silent', for_ms: Math.round(this.now() - this.#heardAt) });
      }
    } finally {
      this.#asking = false;
    }
  }

  /** A refusal is an answer, and so is a question that could not be put: only silence counts. */
  async #ask(): Promise<boolean> {
    const late = Symbol('late');
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<typeof late>((resolve) => {
      timer = setTimeout(() => resolve(late), this.answerMs);
    });
    const heardBefore = this.#heardAt;
    const answer = await Promise.race([this.watched.ask().then(
      () => true,
      () => true,
    ), patience]);
    clearTimeout(timer);
    // Whatever else came meanwhile is as good a sign.
    return answer !== late || this.#heardAt > heardBefore;
  }
}
