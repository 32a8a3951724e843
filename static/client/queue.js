/** What a connection brings, and the silence when it brings nothing. */

/** Milliseconds without a sign of life before a connection counts as dead: three missed pings. */
const SILENCE = 45_000;

/** Calls `dead` after silence; looks a few times a minute instead of setting a timer per event. */
export function watchdog(dead) {
  let seen = Date.now();
  const timer = setInterval(() => Date.now() - seen > SILENCE && dead(), SILENCE / 9);
  return { touch: () => (seen = Date.now()), stop: () => clearInterval(timer) };
}

/** Callbacks in, async iteration out. Closes by itself when the signal aborts. */
export class Inbox {
  #items = [];
  #end = null;
  #wake = () => {};

  constructor(signal) {
    if (signal.aborted) this.close(signal.reason);
    else signal.addEventListener('abort', () => this.close(signal.reason), { once: true });
  }

  push(item) {
    if (!this.#end) this.#items.push(item);
    this.#wake();
  }

  close(error = null) {
    this.#end ??= { error };
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      const items = this.#items;
      this.#items = [];
      yield* items;
      if (this.#items.length) continue;
      if (this.#end?.error) throw this.#end.error;
      if (this.#end) return;
      await new Promise((wake) => (this.#wake = wake));
    }
  }
}
