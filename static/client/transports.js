/**
 * The doors: one connection each, as an async generator of events.
 *
 * A door knows nothing of retrying. It asks for `stream.after` onwards, yields
 * what comes, returns when the connection ends cleanly, and throws `ApiError`
 * (refused) or `ConnectionLost`. The loop in `streamapi.js` does the rest.
 */

import { Inbox, watchdog } from './queue.js';
import { SSEParser } from './sse.js';
import { ApiError, ConnectionLost } from './errors.js';

const EVENTS = ['start', 'wait', 'delta', 'label', 'done', 'failed', 'cancelled'];
/** Milliseconds between our own pings on a socket. */
const PING = 15_000;
const JSON_TYPE = { 'Content-Type': 'application/json' };

const SILENT = 'Connection silent.';

export const doors = { post, follow, eventsource, websocket };

/** `POST /v1/{task}/stream`, read with fetch. */
async function* post(stream) {
  if (stream.generation) return yield* followEvents(stream);
  const response = await stream.fetch(`/v1/${stream.task}/stream`, {
    method: 'POST',
    headers: { ...JSON_TYPE, Accept: 'text/event-stream', ...stream.idempotency() },
    body: JSON.stringify(stream.request),
  });
  stream.know(response.headers.get('Generation-Id'));
  yield* readResponse(stream, response);
}

/** `POST /v1/{task}` with `Prefer: respond-async`, then the events of the generation. */
async function* follow(stream) {
  if (!stream.generation) {
    const response = await stream.fetch(`/v1/${stream.task}`, {
      method: 'POST',
      headers: { ...JSON_TYPE, Prefer: 'respond-async', ...stream.idempotency() },
      body: JSON.stringify(stream.request),
    });
    const body = await response.json();
    stream.know(response.headers.get('Generation-Id') ?? body.id);
    // A server may ignore Prefer and answer at once: then this is the ending.
    if (response.status !== 202) return yield { type: 'done', id: `${body.id}.1`, n: 1, data: body };
  }
  yield* followEvents(stream);
}

/** `GET /v1/generations/{id}/events` with fetch, so that the key can ride in a header. */
async function* followEvents(stream) {
  const headers = { Accept: 'text/event-stream' };
  if (stream.after) headers['Last-Event-ID'] = `${stream.generation}.${stream.after}`;
  const response = await stream.fetch(`/v1/generations/${stream.generation}/events`, { headers });
  yield* readResponse(stream, response);
}

async function* readResponse(stream, response) {
  if (response.status === 204) {
    throw new ApiError({ title: 'Nothing more', detail: 'The stream had already ended.', code: 'generation_expired' }, 204);
  }
  stream.opened();
  const parser = new SSEParser((raw) => stream.raw(raw));
  const reader = response.body.getReader();
  const watch = watchdog(() => stream.drop(SILENT));
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw stream.signal.aborted ? stream.signal.reason : new ConnectionLost(error.message);
      });
      if (done) return;
      watch.touch();
      const messages = parser.push(value);
      if (parser.retry !== null) stream.retry = parser.retry;
      for (const message of messages) {
        stream.raw(message.raw);
        if (EVENTS.includes(message.type)) yield decode(message.type, message.id, message.data);
      }
    }
  } finally {
    watch.stop();
    reader.cancel().catch(() => {});
  }
}

/** `GET /v1/{task}/stream?…` with the browser's own `EventSource`. */
async function* eventsource(stream) {
  // Asked anew after every loss: the generation may have become known meanwhile.
  const url = () =>
    stream.generation
      ? ticketed(stream, `/v1/generations/${stream.generation}/events`, `after=${stream.after}`)
      : ticketed(stream, `/v1/${stream.task}/stream`, toQuery(stream.request, stream.idempotencyKey));
  const inbox = new Inbox(stream.signal);
  const source = new stream.api.EventSource(stream.api.url(await url()));
  const watch = watchdog(() => inbox.close(new ConnectionLost(SILENT)));
  for (const type of [...EVENTS, 'ping']) {
    source.addEventListener(type, (message) => {
      watch.touch();
      const id = type === 'ping' ? '' : `id: ${message.lastEventId}\n`;
      stream.raw(`event: ${type}\n${id}data: ${message.data}`);
      if (type !== 'ping') inbox.push(decode(type, message.lastEventId, message.data));
    });
  }
  source.onopen = () => (watch.touch(), stream.opened());
  source.onerror = () => {
    // CONNECTING: the browser reconnects by itself, with Last-Event-ID. CLOSED: refused.
    if (source.readyState !== 2) return stream.report('reconnecting', { reason: 'Connection lost.' });
    url().then((again) => whyRefused(stream, again)).catch((error) => error).then((reason) => inbox.close(reason));
  };
  try {
    yield* inbox;
  } finally {
    watch.stop();
    source.close();
  }
}

/**
 * An address for `EventSource`, which cannot send a key: a ticket stands for it there, one for each
 * path, since it joins what it began when it is presented again.
 */
async function ticketed(stream, path, query) {
  if (!stream.api.key) return `${path}?${query}`;
  stream.tickets ??= {};
  stream.tickets[path] ??= stream
    .fetch('/v1/tickets', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ path }) })
    .then((response) => response.json())
    .catch((error) => {
      // A refusal is not kept: the next reconnection asks again.
      delete stream.tickets[path];
      throw error;
    });
  return `${path}?${query}&ticket=${(await stream.tickets[path]).ticket}`;
}

/**
 * A browser hides the status and body of a refused `EventSource`; fetch does not.
 * The idempotency key in the URL keeps the question from starting a second generation.
 */
async function whyRefused(stream, url) {
  try {
    const response = await stream.fetch(url, { headers: { Accept: 'text/event-stream' } });
    response.body?.cancel();
    return new ConnectionLost('Connection refused once.');
  } catch (error) {
    return error;
  }
}

/** `/v1/{task}/ws`: one socket for one generation. */
async function* websocket(stream) {
  const inbox = new Inbox(stream.signal);
  const socket = new stream.api.WebSocket(stream.api.url(`/v1/${stream.task}/ws`).replace(/^http/, 'ws'));
  const say = (message) => socket.send(JSON.stringify(message));
  const watch = watchdog(() => inbox.close(new ConnectionLost(SILENT)));
  const ping = setInterval(() => socket.readyState === 1 && say({ type: 'ping' }), PING);
  let open = false;
  socket.onopen = () => {
    open = true;
    if (stream.api.key) say({ type: 'auth', token: stream.api.key });
    if (stream.generation) say({ type: 'resume', generation: stream.generation, after: stream.after });
    else say({ type: 'start', ref: stream.ref, request: stream.request, ...(stream.idempotencyKey && { idempotency_key: stream.idempotencyKey }) });
    stream.hangUp = () => socket.readyState === 1 && (say({ type: 'cancel', generation: stream.generation }), true);
    stream.opened();
  };
  socket.onmessage = (message) => {
    watch.touch();
    stream.raw(message.data);
    const { type, generation, n, ...data } = JSON.parse(message.data);
    if (type === 'error') return inbox.close(new ApiError(data.problem ?? {}));
    if (!EVENTS.includes(type)) return;
    stream.know(generation);
    inbox.push({ type, id: `${generation}.${n}`, n, data: type === 'start' ? { generation, ...data } : data });
  };
  socket.onclose = async (event) => {
    // A refused handshake looks like a lost one; a GET can say why.
    const refusal = open || stream.generation ? null : await whyRefused(stream, '/v1/models');
    inbox.close(closeError(event.code) ?? refusal ?? new ConnectionLost(event.reason || undefined));
  };
  try {
    yield* inbox;
  } finally {
    stream.hangUp = null;
    clearInterval(ping);
    watch.stop();
    socket.onmessage = socket.onclose = null;
    socket.close();
  }
}

function closeError(code) {
  const known = {
    1009: { status: 413, code: 'too_large', title: 'The request is too large' },
    1013: { status: 503, code: 'overloaded', title: 'The server is overloaded', retryable: true },
    4401: { status: 401, code: 'unauthenticated', title: 'A key is needed' },
    4403: { status: 403, code: 'forbidden', title: 'Not allowed' },
    4429: { status: 429, code: 'rate_limited', title: 'Too many requests', retryable: true },
  };
  return known[code] ? new ApiError(known[code]) : null;
}

/**
 * A request as query parameters: lists repeated, nothing nested.
 * @param {object} request
 * @param {?string} idempotencyKey
 */
export function toQuery(request, idempotencyKey = null) {
  const query = new URLSearchParams();
  const nested = [];
  for (const [name, value] of Object.entries(request)) {
    const items = Array.isArray(value) ? value : [value];
    if (items.some((item) => item !== null && typeof item === 'object')) nested.push(name);
    else for (const item of items) if (item !== null && item !== undefined) query.append(name, String(item));
  }
  if (nested.length) {
    throw new ApiError({
      title: 'Not possible by GET',
      detail: 'Query parameters carry plain values and lists only. Take another door for this request.',
      code: 'invalid_request',
      errors: nested.map((name) => ({ pointer: `/${name}`, detail: 'Nested values cannot go by GET.' })),
    }, 422);
  }
  if (idempotencyKey) query.set('idempotency_key', idempotencyKey);
  return query.toString();
}

function decode(type, id, data) {
  return { type, id, n: Number(id.slice(id.lastIndexOf('.') + 1)), data: JSON.parse(data) };
}
