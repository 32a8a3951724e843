/**
 * The transports. Each is an async generator that opens one connection and yields
 * its events.
 *
 * A transport does not retry; `Stream` in `stream.js` does. It requests the
 * events after position `stream.after` and returns when the connection closes
 * cleanly. It throws `ApiError` when the server refuses the request, and
 * `ConnectionLost` when the connection breaks.
 */

import { ApiError, ConnectionLost } from './errors.js';
import { toQuery } from './query.js';
import { AsyncQueue, silenceTimer } from './queue.js';
import { SSEParser } from './sse.js';

const EVENTS = ['start', 'wait', 'delta', 'label', 'done', 'failed', 'cancelled'];
/** Milliseconds between the pings that the client sends over a WebSocket. */
const PING_INTERVAL = 15_000;
const JSON_TYPE = { 'Content-Type': 'application/json' };

const SILENT = 'The connection was silent for too long.';

export const transports = { post, follow, eventsource, websocket };

/** `POST /v1/{task}/stream`: the response body is the event stream, read with fetch. */
async function* post(stream) {
  if (stream.generation) return yield* followEvents(stream);
  const response = await stream.fetch(`/v1/${stream.task}/stream`, {
    method: 'POST',
    headers: { ...JSON_TYPE, Accept: 'text/event-stream', ...stream.idempotencyHeaders() },
    body: JSON.stringify(stream.request),
  });
  stream.setGeneration(response.headers.get('Generation-Id'));
  yield* readResponse(stream, response);
}

/** `POST /v1/{task}` with `Prefer: respond-async`, then `GET /v1/generations/{id}/events`. */
async function* follow(stream) {
  if (!stream.generation) {
    const response = await stream.fetch(`/v1/${stream.task}`, {
      method: 'POST',
      headers: { ...JSON_TYPE, Prefer: 'respond-async', ...stream.idempotencyHeaders() },
      body: JSON.stringify(stream.request),
    });
    const body = await response.json();
    stream.setGeneration(response.headers.get('Generation-Id') ?? body.id);
    // A server may ignore `Prefer` and return the complete answer.
    if (response.status !== 202) return yield { type: 'done', id: `${body.id}.1`, n: 1, data: body };
  }
  yield* followEvents(stream);
}

/** `GET /v1/generations/{id}/events` with fetch, which can send the key in a header. */
async function* followEvents(stream) {
  const headers = { Accept: 'text/event-stream' };
  if (stream.after) headers['Last-Event-ID'] = `${stream.generation}.${stream.after}`;
  const response = await stream.fetch(`/v1/generations/${stream.generation}/events`, { headers });
  yield* readResponse(stream, response);
}

async function* readResponse(stream, response) {
  if (response.status === 204) {
    throw new ApiError({ title: 'The stream has ended', detail: 'The server has no more events for this stream.', code: 'generation_expired' }, 204);
  }
  stream.reportOpen();
  const parser = new SSEParser((raw) => stream.reportRaw(raw));
  const reader = response.body.getReader();
  const silence = silenceTimer(() => stream.drop(SILENT));
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw stream.signal.aborted ? stream.signal.reason : new ConnectionLost(error.message);
      });
      if (done) return;
      silence.touch();
      const messages = parser.push(value);
      if (parser.retry !== null) stream.retry = parser.retry;
      for (const message of messages) {
        stream.reportRaw(message.raw);
        if (EVENTS.includes(message.type)) yield decode(message.type, message.id, message.data);
      }
    }
  } finally {
    silence.stop();
    reader.cancel().catch(() => {});
  }
}

/** `GET /v1/{task}/stream?…` with the browser's `EventSource`. */
async function* eventsource(stream) {
  // Built for each connection: the id of the generation may be known by then.
  const url = () =>
    stream.generation
      ? withTicket(stream, `/v1/generations/${stream.generation}/events`, `after=${stream.after}`)
      : withTicket(stream, `/v1/${stream.task}/stream`, toQuery(stream.request, stream.idempotencyKey));
  const queue = new AsyncQueue(stream.signal);
  const source = new stream.api.EventSource(stream.api.url(await url()));
  const silence = silenceTimer(() => queue.close(new ConnectionLost(SILENT)));
  for (const type of [...EVENTS, 'ping']) {
    source.addEventListener(type, (message) => {
      silence.touch();
      const id = type === 'ping' ? '' : `id: ${message.lastEventId}\n`;
      stream.reportRaw(`event: ${type}\n${id}data: ${message.data}`);
      if (type !== 'ping') queue.push(decode(type, message.lastEventId, message.data));
    });
  }
  source.onopen = () => (silence.touch(), stream.reportOpen());
  source.onerror = () => {
    // CONNECTING: the browser reconnects by itself, with `Last-Event-ID`. CLOSED (2): the server refused.
    if (source.readyState !== 2) return stream.report('reconnecting', { reason: 'The connection was lost.' });
    url().then((address) => refusalOf(stream, address)).catch((error) => error).then((reason) => queue.close(reason));
  };
  try {
    yield* queue;
  } finally {
    silence.stop();
    source.close();
  }
}

/**
 * The URL for `EventSource`, which cannot send headers: a ticket in the URL replaces the key.
 * Each path gets one ticket. A repeated ticket joins the generation that it started.
 */
async function withTicket(stream, path, query) {
  if (!stream.api.key) return `${path}?${query}`;
  stream.tickets ??= {};
  stream.tickets[path] ??= stream
    .fetch('/v1/tickets', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ path }) })
    .then((response) => response.json())
    .catch((error) => {
      // A failure is not stored: the next connection requests a ticket again.
      delete stream.tickets[path];
      throw error;
    });
  return `${path}?${query}&ticket=${(await stream.tickets[path]).ticket}`;
}

/**
 * The error behind a refused `EventSource` or WebSocket, whose status and body the browser hides.
 * Fetch shows them. The idempotency key in the URL prevents a second generation.
 */
async function refusalOf(stream, url) {
  try {
    const response = await stream.fetch(url, { headers: { Accept: 'text/event-stream' } });
    response.body?.cancel();
    return new ConnectionLost('The server refused the connection once.');
  } catch (error) {
    return error;
  }
}

/** `/v1/{task}/ws`: one WebSocket for one generation. */
async function* websocket(stream) {
  const queue = new AsyncQueue(stream.signal);
  const socket = new stream.api.WebSocket(stream.api.url(`/v1/${stream.task}/ws`).replace(/^http/, 'ws'));
  const send = (message) => socket.send(JSON.stringify(message));
  const silence = silenceTimer(() => queue.close(new ConnectionLost(SILENT)));
  const ping = setInterval(() => socket.readyState === 1 && send({ type: 'ping' }), PING_INTERVAL);
  let opened = false;
  socket.onopen = () => {
    opened = true;
    if (stream.api.key) send({ type: 'auth', token: stream.api.key });
    if (stream.generation) send({ type: 'resume', generation: stream.generation, after: stream.after });
    else send({ type: 'start', ref: stream.ref, request: stream.request, ...(stream.idempotencyKey && { idempotency_key: stream.idempotencyKey }) });
    stream.sendCancel = () => socket.readyState === 1 && (send({ type: 'cancel', generation: stream.generation }), true);
    stream.reportOpen();
  };
  socket.onmessage = (message) => {
    silence.touch();
    stream.reportRaw(message.data);
    const { type, generation, n, ...data } = JSON.parse(message.data);
    if (type === 'error') return queue.close(new ApiError(data.problem ?? {}));
    if (!EVENTS.includes(type)) return;
    stream.setGeneration(generation);
    queue.push({ type, id: `${generation}.${n}`, n, data: type === 'start' ? { generation, ...data } : data });
  };
  socket.onclose = async (event) => {
    // A refused handshake looks like a lost connection. A GET shows the error.
    const refusal = opened || stream.generation ? null : await refusalOf(stream, '/v1/models');
    queue.close(closeError(event.code) ?? refusal ?? new ConnectionLost(event.reason || undefined));
  };
  try {
    yield* queue;
  } finally {
    stream.sendCancel = null;
    clearInterval(ping);
    silence.stop();
    socket.onmessage = socket.onclose = null;
    socket.close();
  }
}

/** The error for a close code (RFC 6455, section 7.4; the server defines codes from 4000), or null. */
function closeError(code) {
  const known = {
    1009: { status: 413, code: 'too_large', title: 'The message is too large' },
    1013: { status: 503, code: 'overloaded', title: 'The server is overloaded', retryable: true },
    4401: { status: 401, code: 'unauthenticated', title: 'Authentication required' },
    4403: { status: 403, code: 'forbidden', title: 'The key does not allow this request' },
    4429: { status: 429, code: 'rate_limited', title: 'Too many requests', retryable: true },
  };
  return known[code] ? new ApiError(known[code]) : null;
}

function decode(type, id, data) {
  return { type, id, n: Number(id.slice(id.lastIndexOf('.') + 1)), data: JSON.parse(data) };
}
