/**
 * The JavaScript client of streamapi, for browsers and Node. It has no
 * dependencies and needs no build step.
 *
 *     import { StreamAPI } from '/static/client/streamapi.js';
 *
 *     const api = new StreamAPI();
 *     const answer = await api.answer('text', { prompt: 'Why is the sky blue?' });
 *
 *     const stream = api.stream('text', { prompt: 'Why is the sky blue?' }, { transport: 'post' });
 *     for await (const event of stream) {
 *       if (event.type === 'delta') show(event.data.text);
 *       if (event.type === 'done') console.log(event.data.usage);
 *       if (event.type === 'failed') throw new ApiError(event.data.problem);
 *     }
 *
 * Each stream ends with `done`, `failed` or `cancelled`. If the connection breaks
 * earlier, the client reconnects and resumes after the last event that it
 * received. Events arrive in order, without gaps and without duplicates.
 */

import { ApiError, ConnectionLost } from './errors.js';
import { Stream, backoff } from './stream.js';

export { ApiError, ConnectionLost, Stream, backoff };
export { SSEParser } from './sse.js';

/** @typedef {'post'|'follow'|'eventsource'|'websocket'} Transport */
/** @typedef {'start'|'wait'|'delta'|'label'|'done'|'failed'|'cancelled'} EventType */
/** @typedef {{type: EventType, id: string, n: number, data: object}} StreamEvent */

/**
 * @typedef {object} StreamOptions
 * @property {Transport} [transport] how the events arrive: 'post' (default), 'follow',
 *   'eventsource' or 'websocket'.
 * @property {Transport} [door] deprecated: the former name of `transport`.
 * @property {AbortSignal} [signal] ends the iteration. It does not stop the generation;
 *   `cancel()` does.
 * @property {?string} [idempotencyKey] default: a random key. If the connection breaks
 *   before the first event, the client sends the same request again, and the key makes
 *   it join the same generation. A generation with a key continues without readers.
 *   `null`: no key; a connection that breaks before the first event is an error.
 * @property {number} [maxAttempts] how often the stream reconnects without a new event
 *   before it throws `ConnectionLost`; default: 10, and 3 before the first event.
 * @property {(change: {state: 'connecting'|'open'|'reconnecting', after: number,
 *   attempt?: number, delay?: number, reason?: string}) => void} [onState] is called when
 *   the connection changes; `delay` is in milliseconds.
 * @property {(text: string) => void} [onRaw] is called with each event as it was received.
 */

export class StreamAPI {
  /**
   * @param {object} [options]
   * @param {string} [options.baseUrl] the address of the server; default: the origin of the page.
   * @param {?string} [options.key] the API key, sent as `Authorization: Bearer <key>`. Over
   *   WebSocket it is the first message; for `EventSource` a ticket replaces it.
   * @param {typeof fetch} [options.fetch] replaces the global `fetch`, as do the next two
   *   their globals, outside browsers and in tests.
   * @param {typeof EventSource} [options.EventSource]
   * @param {typeof WebSocket} [options.WebSocket]
   */
  constructor({ baseUrl = '', key = null, ...replacements } = {}) {
    this.baseUrl = baseUrl.replace(/\/+$/, '');
    this.key = key;
    this.fetcher = replacements.fetch ?? ((...args) => globalThis.fetch(...args));
    this.EventSource = replacements.EventSource ?? globalThis.EventSource;
    this.WebSocket = replacements.WebSocket ?? globalThis.WebSocket;
  }

  /**
   * Requests one JSON answer.
   * @param {string} task
   * @param {object} request
   * @param {{signal?: AbortSignal, idempotencyKey?: string}} [options]
   * @returns {Promise<object>} the whole answer
   * @throws {ApiError} the server refused the request, or the generation failed
   * @throws {ConnectionLost} the server cannot be reached
   */
  async answer(task, request, { signal, idempotencyKey } = {}) {
    const headers = { 'Content-Type': 'application/json' };
    if (idempotencyKey) headers['Idempotency-Key'] = idempotencyKey;
    const response = await this.request(`/v1/${task}`, { method: 'POST', headers, body: JSON.stringify(request), signal });
    return response.json();
  }

  /**
   * Starts a generation and streams its events. The request is sent when iteration begins.
   * @param {string} task
   * @param {object} request
   * @param {StreamOptions} [options]
   * @returns {Stream}
   */
  stream(task, request, options = {}) {
    return new Stream(this, task, request, options);
  }

  /**
   * Stops a generation. Calling it again is safe.
   * @param {string} generation
   */
  async cancel(generation) {
    await this.request(`/v1/generations/${generation}/cancel`, { method: 'POST' });
  }

  /**
   * The answer of a generation: complete, or the part that exists now.
   * @param {string} generation
   */
  async generation(generation) {
    return (await this.request(`/v1/generations/${generation}`)).json();
  }

  /**
   * Sends one request with the key.
   * @param {string} path
   * @param {RequestInit} [init]
   * @returns {Promise<Response>} a response with a 2xx status
   * @throws {ApiError} any other status
   * @throws {ConnectionLost} the server cannot be reached
   */
  async request(path, { headers = {}, signal, ...init } = {}) {
    const auth = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    const response = await this.fetcher(this.url(path), { ...init, signal, headers: { ...auth, ...headers } }).catch((error) => {
      throw signal?.aborted ? signal.reason : new ConnectionLost(`The server cannot be reached (${error.message}).`);
    });
    if (!response.ok) throw await ApiError.from(response);
    return response;
  }

  /** The absolute URL of a path on the server. */
  url(path) {
    return new URL(this.baseUrl + path, globalThis.location?.href).href;
  }
}
