/**
 * A JavaScript client for the stream API. No dependencies, no build step.
 *
 *     import { StreamAPI } from '/static/client/streamapi.js';
 *
 *     const api = new StreamAPI();
 *     const answer = await api.answer('text', { prompt: 'Why is the sky blue?' });
 *
 *     const stream = api.stream('text', { prompt: 'Why is the sky blue?' }, { door: 'post' });
 *     for await (const event of stream) {
 *       if (event.type === 'delta') show(event.data.text);
 *       if (event.type === 'done') console.log(event.data.usage);
 *       if (event.type === 'failed') throw new ApiError(event.data.problem);
 *     }
 *
 * A stream without an ending event is not over. So a stream that loses its
 * connection resumes by itself behind the last event it has seen: events come in
 * order, none twice, none missing, until `done`, `failed` or `cancelled`.
 */

import { doors } from './transports.js';
import { ApiError, ConnectionLost } from './errors.js';

export { ApiError, ConnectionLost };
export { SSEParser } from './sse.js';

/** @typedef {'post'|'follow'|'eventsource'|'websocket'} Door */
/** @typedef {'start'|'wait'|'delta'|'label'|'done'|'failed'|'cancelled'} EventType */
/** @typedef {{type: EventType, id: string, n: number, data: object}} StreamEvent */

/**
 * @typedef {object} StreamOptions
 * @property {Door} [door] 'post' (default), 'follow', 'eventsource' or 'websocket'.
 * @property {AbortSignal} [signal] leaves the stream. It does not stop the
 *   generation; `cancel()` does.
 * @property {?string} [idempotencyKey] default: a random one, so that a connection
 *   lost before the first event joins its generation instead of paying twice. A
 *   generation with a key runs on when its reader leaves. `null`: no key, and a
 *   connection lost that early is an error.
 * @property {number} [maxAttempts] reconnections without a new event between them
 *   before it throws `ConnectionLost`; default 10 (3 before the first event).
 * @property {(change: {state: 'connecting'|'open'|'reconnecting', after: number,
 *   attempt?: number, delay?: number, reason?: string}) => void} [onState]
 * @property {(text: string) => void} [onRaw] every event as it came over the wire.
 */

const ENDINGS = ['done', 'failed', 'cancelled'];
const LONGEST_WAIT = 30_000;

export class StreamAPI {
  /**
   * @param {object} [options]
   * @param {string} [options.baseUrl] '' is the page's own origin.
   * @param {?string} [options.key] sent as `Authorization: Bearer`; over WebSocket
   *   as the first message. `EventSource` cannot send one.
   * @param {typeof fetch} [options.fetch] and the two below: others than the
   *   environment's own, outside browsers and in tests.
   * @param {typeof EventSource} [options.EventSource]
   * @param {typeof WebSocket} [options.WebSocket]
   */
  constructor({ baseUrl = '', key = null, ...own } = {}) {
    this.baseUrl = baseUrl.replace(/\/+$/, '');
    this.key = key;
    this.fetcher = own.fetch ?? ((...args) => globalThis.fetch(...args));
    this.EventSource = own.EventSource ?? globalThis.EventSource;
    this.WebSocket = own.WebSocket ?? globalThis.WebSocket;
  }

  /**
   * One JSON answer.
   * @param {string} task
   * @param {object} request
   * @param {{signal?: AbortSignal, idempotencyKey?: string}} [options]
   * @returns {Promise<object>} the whole answer
   * @throws {ApiError} refused or failed
   * @throws {ConnectionLost} no answer
   */
  async answer(task, request, { signal, idempotencyKey } = {}) {
    const headers = { 'Content-Type': 'application/json' };
    if (idempotencyKey) headers['Idempotency-Key'] = idempotencyKey;
    const response = await this.request(`/v1/${task}`, { method: 'POST', headers, body: JSON.stringify(request), signal });
    return response.json();
  }

  /**
   * The events of a new generation. Nothing is sent before iteration begins.
   * @param {string} task
   * @param {object} request
   * @param {StreamOptions} [options]
   * @returns {Stream}
   */
  stream(task, request, options = {}) {
    return new Stream(this, task, request, options);
  }

  /**
   * Stops a generation; doing it twice does no harm.
   * @param {string} generation
   */
  async cancel(generation) {
    await this.request(`/v1/generations/${generation}/cancel`, { method: 'POST' });
  }

  /**
   * The answer of a generation so far, or at its end.
   * @param {string} generation
   */
  async generation(generation) {
    return (await this.request(`/v1/generations/${generation}`)).json();
  }

  /** One request, with the key. Throws `ApiError` or `ConnectionLost` unless it is answered 2xx. */
  async request(path, { headers = {}, signal, ...init } = {}) {
    const auth = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    const response = await this.fetcher(this.url(path), { ...init, signal, headers: { ...auth, ...headers } }).catch((error) => {
      throw signal?.aborted ? signal.reason : new ConnectionLost(`The server cannot be reached (${error.message}).`);
    });
    if (!response.ok) throw await ApiError.from(response);
    return response;
  }

  /** An absolute URL where the page gives a base, for `WebSocket` and for other origins. */
  url(path) {
    return new URL(this.baseUrl + path, globalThis.location?.href).href;
  }
}

/** The events of one generation: an async iterable that survives its connections. */
export class Stream {
  #options;
  #outer;
  #cut = null;
  #known;
  #announce;

  /** The id of the generation, once known; '' before. */
  generation = '';

  /** The position of the last event seen. */
  after = 0;

  /** Use `api.stream(…)`. */
  constructor(api, task, request, options) {
    const { door = 'post', idempotencyKey = randomKey(), signal = null } = options;
    if (!doors[door]) throw new TypeError(`There is no door "${door}".`);
    Object.assign(this, { api, task, request, door, idempotencyKey, ref: randomKey().slice(0, 8), retry: null, hangUp: null });
    this.#options = options;
    this.#outer = signal;
    this.#known = new Promise((announce) => (this.#announce = announce));
  }

  /** Asks the server to stop. The stream then ends with `cancelled`. */
  async cancel() {
    await this.#known;
    if (this.hangUp?.()) return;
    if (this.generation) await this.api.cancel(this.generation);
  }

  /** Cuts the connection as a failing network would. The stream resumes by itself. */
  drop(reason = 'Connection dropped.') {
    this.#cut?.abort(new ConnectionLost(reason));
  }

  /** @returns {AsyncGenerator<StreamEvent>} */
  async *[Symbol.asyncIterator]() {
    let attempt = 0;
    try {
      for (;;) {
        const known = this.generation;
        let loss;
        try {
          for await (const event of this.#connect()) {
            // A replayed position is a repetition, whatever the server thinks.
            if (!(event.n > this.after)) continue;
            this.after = event.n;
            this.know(event.data.generation);
            attempt = 0;
            yield event;
            if (ENDINGS.includes(event.type)) return;
            // What a dead connection had already brought is not read on.
            this.#cut.signal.throwIfAborted();
          }
          loss = new ConnectionLost('Connection ended too soon.');
        } catch (error) {
          if (this.#outer?.aborted) throw this.#outer.reason;
          loss = error;
        }
        attempt += 1;
        if (!this.#mayResume(loss, known, attempt)) throw loss;
        const delay = loss.retryAfter ? loss.retryAfter * 1000 : backoff(attempt, this.retry);
        this.report('reconnecting', { attempt, delay, reason: loss.message });
        await sleep(delay, this.#outer);
      }
    } finally {
      this.#announce();
    }
  }

  async *#connect() {
    this.#outer?.throwIfAborted();
    this.#cut = new AbortController();
    const leave = () => this.#cut.abort(this.#outer.reason);
    this.#outer?.addEventListener('abort', leave, { once: true });
    this.report('connecting');
    try {
      yield* doors[this.door](this);
    } finally {
      this.#outer?.removeEventListener('abort', leave);
      this.#cut = null;
    }
  }

  /** A first request that is refused is the caller's to repeat; a reconnection starts nothing and is ours. */
  #mayResume(loss, known, attempt) {
    const limit = this.#options.maxAttempts ?? (this.after ? 10 : 3);
    if (attempt > limit) return false;
    if (loss instanceof ApiError) return Boolean(known) && loss.retryable;
    return loss instanceof ConnectionLost && Boolean(this.generation || this.idempotencyKey);
  }

  // What the doors use.

  get signal() {
    return this.#cut.signal;
  }

  fetch(path, init) {
    return this.api.request(path, { ...init, signal: this.signal });
  }

  idempotency() {
    return this.idempotencyKey ? { 'Idempotency-Key': this.idempotencyKey } : {};
  }

  know(generation) {
    if (!generation || this.generation) return;
    this.generation = generation;
    this.#announce();
  }

  opened() {
    this.report('open');
  }

  report(state, more = {}) {
    this.#options.onState?.({ state, after: this.after, ...more });
  }

  raw(text) {
    this.#options.onRaw?.(text);
  }
}

/**
 * Milliseconds before the reconnection: what the server asked for at least,
 * doubled each time, with jitter so that a thousand clients do not come at once.
 */
export function backoff(attempt, retry, random = Math.random) {
  const first = retry ?? 500;
  return Math.max(first, Math.min(LONGEST_WAIT, first * 2 ** (attempt - 1))) * (1 + 0.3 * random());
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
