/** One stream: it reads events over a transport, and reconnects and resumes when the connection breaks. */

import { ApiError, ConnectionLost } from './errors.js';
import { transports } from './transports.js';

/** @typedef {import('./streamapi.js').StreamEvent} StreamEvent */

const ENDINGS = ['done', 'failed', 'cancelled'];
/** The longest wait before a reconnection, in milliseconds. */
const MAX_BACKOFF = 30_000;

/** The events of one generation: an async iterable. */
export class Stream {
  #options;
  #callerSignal;
  #abortController = null;
  #generationKnown;
  #resolveGeneration;

  /** The id of the generation; '' until the server has sent it. */
  generation = '';

  /** The position of the last event received. */
  after = 0;

  /** Use `api.stream(…)` instead. */
  constructor(api, task, request, options) {
    const { transport = options.door ?? 'post', idempotencyKey = randomKey(), signal = null } = options;
    if (!transports[transport]) throw new TypeError(`Unknown transport "${transport}": use one of ${Object.keys(transports).join(', ')}.`);
    Object.assign(this, { api, task, request, transport, idempotencyKey, ref: randomKey().slice(0, 8), retry: null, sendCancel: null });
    this.#options = options;
    this.#callerSignal = signal;
    this.#generationKnown = new Promise((resolve) => (this.#resolveGeneration = resolve));
  }

  /** @deprecated the former name of `transport` */
  get door() {
    return this.transport;
  }

  /** Asks the server to stop the generation. The stream then ends with `cancelled`. */
  async cancel() {
    await this.#generationKnown;
    if (this.sendCancel?.()) return;
    if (this.generation) await this.api.cancel(this.generation);
  }

  /** Closes the connection as a broken network would. The stream reconnects and resumes. */
  drop(reason = 'The connection was dropped.') {
    this.#abortController?.abort(new ConnectionLost(reason));
  }

  /** @returns {AsyncGenerator<StreamEvent>} */
  async *[Symbol.asyncIterator]() {
    let attempt = 0;
    try {
      for (;;) {
        const knownBefore = this.generation;
        let loss;
        try {
          for await (const event of this.#connect()) {
            // The server may send an event again; it is yielded once.
            if (!(event.n > this.after)) continue;
            this.after = event.n;
            this.setGeneration(event.data.generation);
            attempt = 0;
            yield event;
            if (ENDINGS.includes(event.type)) return;
            // After `drop()`, events that are still in the buffer are left for the next connection.
            this.#abortController.signal.throwIfAborted();
          }
          loss = new ConnectionLost('The connection closed before the stream ended.');
        } catch (error) {
          if (this.#callerSignal?.aborted) throw this.#callerSignal.reason;
          loss = error;
        }
        attempt += 1;
        if (!this.#mayResume(loss, knownBefore, attempt)) throw loss;
        const delay = loss.retryAfter ? loss.retryAfter * 1000 : backoff(attempt, this.retry);
        this.report('reconnecting', { attempt, delay, reason: loss.message });
        await sleep(delay, this.#callerSignal);
      }
    } finally {
      this.#resolveGeneration();
    }
  }

  async *#connect() {
    this.#callerSignal?.throwIfAborted();
    this.#abortController = new AbortController();
    const abort = () => this.#abortController.abort(this.#callerSignal.reason);
    this.#callerSignal?.addEventListener('abort', abort, { once: true });
    this.report('connecting');
    try {
      yield* transports[this.transport](this);
    } finally {
      this.#callerSignal?.removeEventListener('abort', abort);
      this.#abortController = null;
    }
  }

  /**
   * Whether to reconnect after an error. After a refused first request the caller decides, because
   * repeating it can start a generation. A reconnection starts nothing, so the client repeats it.
   */
  #mayResume(loss, knownBefore, attempt) {
    const limit = this.#options.maxAttempts ?? (this.after ? 10 : 3);
    if (attempt > limit) return false;
    if (loss instanceof ApiError) return Boolean(knownBefore) && loss.retryable;
    return loss instanceof ConnectionLost && Boolean(this.generation || this.idempotencyKey);
  }

  // The rest is for the transports.

  get signal() {
    return this.#abortController.signal;
  }

  fetch(path, init) {
    return this.api.request(path, { ...init, signal: this.signal });
  }

  idempotencyHeaders() {
    return this.idempotencyKey ? { 'Idempotency-Key': this.idempotencyKey } : {};
  }

  setGeneration(generation) {
    if (!generation || this.generation) return;
    this.generation = generation;
    this.#resolveGeneration();
  }

  reportOpen() {
    this.report('open');
  }

  report(state, more = {}) {
    this.#options.onState?.({ state, after: this.after, ...more });
  }

  reportRaw(text) {
    this.#options.onRaw?.(text);
  }
}

/**
 * The milliseconds to wait before a reconnection: at least the `retry:` value of the server,
 * doubled with each attempt, with jitter so that clients do not reconnect all at once.
 */
export function backoff(attempt, retry, random = Math.random) {
  const first = retry ?? 500;
  return Math.max(first, Math.min(MAX_BACKOFF, first * 2 ** (attempt - 1))) * (1 + 0.3 * random());
}

function randomKey() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function sleep(delay, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => (clearTimeout(timer), reject(signal.reason));
    const timer = setTimeout(() => (signal?.removeEventListener('abort', stop), resolve()), delay);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
