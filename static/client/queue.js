/** A queue between callbacks and `for await`, and a timer for silent connections. */

/** Milliseconds without any data after which a connection counts as lost: three missed pings. */
const SILENCE = 45_000;

/**
 * Calls `onSilence` when no data has arrived for `SILENCE` milliseconds.
 * One interval checks this, because a new timer for each event would cost more.
 * @param {() => void} onSilence
 * @returns {{touch: () => void, stop: () => void}} call `touch` for all data that arrives
 */
export function silenceTimer(onSilence) {
  let lastData = Date.now();
  const timer = setInterval(() => Date.now() - lastData > SILENCE && onSilence(), SILENCE / 9);
  return { touch: () => (lastData = Date.now()), stop: () => clearInterval(timer) };
}

/** Items are pushed by callbacks and read with `for await`. An aborted signal closes the queue. */
export class AsyncQueue {
  #items = [];
  #end = null;
  #wake = () => {};

  /** @param {AbortSignal} signal */
  constructor(signal) {
    if (signal.aborted) this.close(signal.reason);
    else signal.addEventListener('abort', () => this.close(signal.reason), { once: true });
  }

  push(item) {
    if (!this.#end) this.#items.push(item);
    this.#wake();
  }

  /** Ends the iteration after the items that are in the queue; throws `error` there if it is given. */
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
