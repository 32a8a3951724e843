// The client: streams, drops, resumes, errors. A small HTTP server in this process
// serves one log.
import test from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { ApiError, ConnectionLost, StreamAPI, backoff } from '../../static/client/streamapi.js';
import { toQuery } from '../../static/client/query.js';

const LOG = [
  ['start', { generation: 'gen_a', task: 'text', model: 'm', created: '' }],
  ...Array.from('hello world', (text) => ['delta', { text, part: 'text' }]),
  ['done', { id: 'gen_a', status: 'done' }],
];
const frame = ([type, data], n) => `event: ${type}\nid: gen_a.${n}\ndata: ${JSON.stringify(data)}\n\n`;

/** A server that closes each connection after `perConnection` events. */
async function serve(t, { perConnection = 100, refuse = () => null } = {}) {
  const seen = [];
  const server = http.createServer((request, response) => {
    seen.push({ method: request.method, url: request.url, headers: request.headers });
    const problem = refuse(seen.length, request);
    if (problem) {
      response.writeHead(problem.status, { 'Content-Type': 'application/problem+json' });
      return response.end(JSON.stringify(problem));
    }
    if (request.headers.prefer) {
      response.writeHead(202, { Location: '/v1/generations/gen_a' });
      return response.end(JSON.stringify({ id: 'gen_a' }));
    }
    const after = Number((request.headers['last-event-id'] ?? '.0').split('.')[1]);
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Generation-Id': 'gen_a' });
    response.write('retry: 1\n\n');
    // Starts one event early: the client must not yield an event that the server repeats.
    for (let n = Math.max(1, after); n <= Math.min(after + perConnection, LOG.length); n += 1) response.write(frame(LOG[n - 1], n));
    setTimeout(() => (perConnection < 100 ? response.destroy() : response.end()), 5);
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  t.after(() => (server.closeAllConnections(), server.close()));
  return { seen, api: new StreamAPI({ baseUrl: `http://127.0.0.1:${server.address().port}` }) };
}

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

for (const transport of ['post', 'follow']) {
  test(`a stream over ${transport} yields the whole log`, async (t) => {
    const { api } = await serve(t);
    const stream = api.stream('text', { prompt: 'x' }, { transport });
    const events = await collect(stream);
    assert.deepEqual(events.map((event) => event.n), LOG.map((_, index) => index + 1));
    assert.equal(stream.generation, 'gen_a');
    assert.equal(events.at(-1).type, 'done');
  });

  test(`a stream over ${transport} that is cut repeatedly yields each event once`, async (t) => {
    const { api, seen } = await serve(t, { perConnection: 2 });
    const states = [];
    const stream = api.stream('text', { prompt: 'x' }, { transport, onState: (change) => states.push(change) });
    const events = await collect(stream);
    assert.deepEqual(events.map((event) => event.n), LOG.map((_, index) => index + 1));
    assert.equal(events.filter((event) => event.type === 'delta').map((event) => event.data.text).join(''), 'hello world');
    assert.equal(seen.filter((request) => request.method === 'POST').length, 1);
    assert.ok(states.some((change) => change.state === 'reconnecting' && change.after === 2));
    assert.equal(seen.at(-1).headers['last-event-id'], 'gen_a.12');
  });
}

test('a dropped stream resumes', async (t) => {
  const { api, seen } = await serve(t);
  const stream = api.stream('text', { prompt: 'x' });
  const positions = [];
  for await (const event of stream) {
    positions.push(event.n);
    if (event.n === 5) stream.drop();
  }
  assert.deepEqual(positions, LOG.map((_, index) => index + 1));
  assert.ok(seen.length >= 1);
});

test('a POST that is lost before the first event is repeated with the same key', async (t) => {
  const { api, seen } = await serve(t, { perConnection: 0 });
  await assert.rejects(collect(api.stream('text', { prompt: 'x' }, { maxAttempts: 1 })), ConnectionLost);
  assert.equal(seen[0].method, 'POST');
  assert.match(seen[0].headers['idempotency-key'], /^[0-9a-f]{32}$/);
});

test('an error response throws an ApiError with its problem', async (t) => {
  const { api } = await serve(t, {
    refuse: () => ({ status: 422, code: 'invalid_request', title: 'No', detail: 'Why', errors: [{ pointer: '/prompt', detail: 'Empty' }] }),
  });
  for (const ask of [() => api.answer('text', {}), () => collect(api.stream('text', {})), () => collect(api.stream('text', {}, { transport: 'follow' }))]) {
    await assert.rejects(ask(), (error) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.status, 422);
      assert.equal(error.errors[0].pointer, '/prompt');
      return true;
    });
  }
});

test('the client does not repeat a first request that fails with a retryable error', async (t) => {
  const { api, seen } = await serve(t, { refuse: () => ({ status: 503, code: 'overloaded', retryable: true }) });
  await assert.rejects(collect(api.stream('text', {})), ApiError);
  assert.equal(seen.length, 1);
});

test('a reconnection is repeated after a retryable error, and not after a final one', async (t) => {
  const busy = (count) => (count === 2 ? { status: 503, code: 'overloaded', retryable: true, retry_after: 0.01 } : null);
  const patient = await serve(t, { perConnection: 8, refuse: busy });
  assert.equal((await collect(patient.api.stream('text', {}))).at(-1).type, 'done');
  const gone = await serve(t, { perConnection: 8, refuse: (count) => (count === 2 ? { status: 410, code: 'generation_expired' } : null) });
  await assert.rejects(collect(gone.api.stream('text', {})), (error) => error.code === 'generation_expired');
});

test('an HTML page of a proxy is an ApiError too', async (t) => {
  const api = new StreamAPI({ baseUrl: 'http://x.test', fetch: async () => new Response('<html>', { status: 502, headers: { 'Retry-After': '3' } }) });
  await assert.rejects(api.answer('text', {}), (error) => error.retryable && error.retryAfter === 3 && error.status === 502);
});

test('an aborted signal ends the stream', async (t) => {
  const { api } = await serve(t);
  const leaving = new AbortController();
  await assert.rejects(async () => {
    for await (const event of api.stream('text', {}, { signal: leaving.signal })) if (event.n === 3) leaving.abort(new Error('left'));
  }, /left/);
});

test('a WebSocket resumes after the last event', async () => {
  const sent = [];
  class Socket {
    readyState = 1;
    constructor() {
      setTimeout(() => this.onopen(), 0);
    }
    send(text) {
      const message = JSON.parse(text);
      sent.push(message);
      const after = message.after ?? 0;
      const upto = message.type === 'start' ? 4 : LOG.length;
      queueMicrotask(() => {
        for (let n = after + 1; n <= upto; n += 1) this.onmessage({ data: JSON.stringify({ type: LOG[n - 1][0], generation: 'gen_a', n, ...LOG[n - 1][1] }) });
        if (upto < LOG.length) this.onclose({ code: 1006, reason: '' });
      });
    }
    close() {}
  }
  const api = new StreamAPI({ baseUrl: 'http://x.test', key: 'sk', WebSocket: Socket });
  Socket.prototype.send = ((send) => function (text) {
    if (JSON.parse(text).type === 'auth') sent.push(JSON.parse(text));
    else send.call(this, text);
  })(Socket.prototype.send);
  const events = await collect(api.stream('text', { prompt: 'x' }, { transport: 'websocket' }));
  assert.deepEqual(events.map((event) => event.n), LOG.map((_, index) => index + 1));
  assert.deepEqual(sent.map((message) => message.type), ['auth', 'start', 'auth', 'resume']);
  assert.equal(sent[3].after, 4);
  assert.equal(events[1].data.text, 'h');
});

test('a query string has plain parameters and an idempotency key', () => {
  const query = new URLSearchParams(toQuery({ text: 'a b', labels: ['x', 'y'], multi_label: true, model: null }, 'k'));
  assert.deepEqual(query.getAll('labels'), ['x', 'y']);
  assert.equal(query.get('multi_label'), 'true');
  assert.equal(query.get('idempotency_key'), 'k');
  assert.equal(query.has('model'), false);
  assert.throws(() => toQuery({ labels: [{ name: 'x' }] }), (error) => error.errors[0].pointer === '/labels');
});

test('a failed request for a ticket is repeated', async () => {
  const tickets = [];
  const outages = [() => { throw new TypeError('away'); }, () => Response.json({ code: 'store_unavailable', retryable: true, retry_after: 0.01 }, { status: 503 })];
  const fetch = async (url, { body } = {}) => {
    if (!url.endsWith('/v1/tickets')) return new Response('');
    const { path } = JSON.parse(body);
    tickets.push(path);
    if (path.includes('/generations/') && outages.length) return outages.shift()();
    return Response.json({ ticket: `tkt_${tickets.length}` });
  };
  const opened = [];
  class Source {
    readyState = 0;
    listeners = {};
    constructor(url) {
      opened.push(new URL(url));
      const after = Number(opened.at(-1).searchParams.get('after') ?? 0);
      setTimeout(() => {
        for (let n = after + 1; n <= Math.min(after + 4, LOG.length); n += 1) this.listeners[LOG[n - 1][0]]({ lastEventId: `gen_a.${n}`, data: JSON.stringify(LOG[n - 1][1]) });
        this.readyState = 2;
        this.onerror();
      });
    }
    addEventListener(type, listener) {
      this.listeners[type] = listener;
    }
    close() {}
  }
  const api = new StreamAPI({ baseUrl: 'http://x.test', key: 'sk', fetch, EventSource: Source });
  const stream = api.stream('text', { prompt: 'x' }, { transport: 'eventsource' });
  stream.retry = 1;
  const events = await collect(stream);
  assert.deepEqual(events.map((event) => event.n), LOG.map((_, index) => index + 1));
  // Two outages and a success; then the client sends the same ticket again.
  assert.deepEqual(tickets.map((path) => path.split('/')[2]), ['text', 'generations', 'generations', 'generations']);
  assert.equal(new Set(opened.slice(1).map((url) => url.searchParams.get('ticket'))).size, 1);
});

test('the backoff starts at the retry value of the server and grows', () => {
  assert.equal(backoff(1, 2000, () => 0), 2000);
  assert.equal(backoff(3, 2000, () => 0), 8000);
  assert.equal(backoff(20, 2000, () => 0), 30000);
  assert.equal(backoff(1, 60000, () => 0), 60000);
  assert.ok(backoff(1, null, () => 0.99) < 700);
});

test('`door` is an alias of `transport`, and an unknown transport throws', () => {
  const api = new StreamAPI({ baseUrl: 'http://x.test' });
  assert.equal(api.stream('text', {}, { door: 'follow' }).transport, 'follow');
  assert.equal(api.stream('text', {}, { transport: 'websocket' }).door, 'websocket');
  assert.throws(() => api.stream('text', {}, { transport: 'pigeon' }), TypeError);
});
