// The parser for Server-Sent Events. Its events do not depend on where chunks are cut.
import test from 'node:test';
import assert from 'node:assert/strict';
import { SSEParser } from '../../static/client/sse.js';

const bytes = (text) => new TextEncoder().encode(text);
const events = (list) => list.map(({ type, data, id }) => ({ type, data, id }));

function parse(...chunks) {
  const parser = new SSEParser();
  return { parser, events: events(chunks.flatMap((chunk) => parser.push(chunk))) };
}

test('an event has a type, an id and data', () => {
  const { events } = parse(bytes('event: delta\nid: gen_a.3\ndata: {"text":"hi"}\n\n'));
  assert.deepEqual(events, [{ type: 'delta', data: '{"text":"hi"}', id: 'gen_a.3' }]);
});

test('CR, LF and CRLF all end a line', () => {
  for (const end of ['\n', '\r', '\r\n']) {
    const { events } = parse(bytes(['data: a', 'data: b', '', 'data: c', '', ''].join(end)));
    assert.deepEqual(events.map((event) => event.data), ['a\nb', 'c'], JSON.stringify(end));
  }
});

test('every cut at every byte gives the same events', () => {
  const wire = bytes('\uFEFF: hello\r\nretry: 2000\r\n\r\nevent: delta\rid: g.1\rdata: zwölf 🦉 boxing\r\r\ndata\ndata:  two\n\nevent: ping\ndata: {}\n\n');
  const whole = parse(wire).events;
  assert.equal(whole.length, 3);
  for (let cut = 0; cut <= wire.length; cut += 1) {
    assert.deepEqual(parse(wire.slice(0, cut), wire.slice(cut)).events, whole, `cut at ${cut}`);
  }
  const single = parse(...Array.from(wire, (byte) => Uint8Array.of(byte)));
  assert.deepEqual(single.events, whole);
  assert.equal(single.parser.retry, 2000);
});

test('a leading BOM is removed, a later one is kept', () => {
  assert.deepEqual(parse(bytes('\uFEFFdata: a\n\n')).events[0].data, 'a');
  assert.deepEqual(parse(bytes('data: \uFEFFa\n\n')).events[0].data, '\uFEFFa');
});

test('comments, unknown fields and events without data are not events', () => {
  const comments = [];
  const parser = new SSEParser((raw) => comments.push(raw));
  assert.deepEqual(parser.push(bytes(': ping\n\nfoo: bar\n\nevent: delta\n\n')), []);
  assert.deepEqual(comments, [': ping', 'foo: bar', 'event: delta']);
});

test('an empty data line is an event with empty data', () => {
  assert.equal(parse(bytes('data\n\n')).events[0].data, '');
  assert.equal(parse(bytes('data:\ndata:\n\n')).events[0].data, '\n');
});

test('an event at the end of the stream without its blank line is discarded', () => {
  assert.deepEqual(parse(bytes('data: a\n')).events, []);
});

test('the id stays until the next id, is set without data, and must not contain NUL', () => {
  const { parser, events } = parse(bytes('id: 7\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid: 9\n\n'));
  assert.deepEqual(events.map((event) => event.id), ['7', '7', '7']);
  assert.equal(parser.lastEventId, '9');
});

test('retry takes digits only', () => {
  assert.equal(parse(bytes('retry: 12x\nretry: -1\nretry:\n\n')).parser.retry, null);
});

test('only one space after the colon is taken', () => {
  assert.equal(parse(bytes('data:  a\n\n')).events[0].data, ' a');
});
