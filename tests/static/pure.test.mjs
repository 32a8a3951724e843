// The modules of the page without a DOM: forms from schemas, streamed Markdown, curl commands.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { formOf, fromControl, mainField, tasksOf, toControl } from '../../static/page/schema.js';
import { Blocks, inline } from '../../static/page/markdown.js';
import { curl } from '../../static/page/curl.js';

const nullable = (schema) => ({ anyOf: [schema, { type: 'null' }], default: null });
const DOC = {
  'x-streamapi-tasks': [{ name: 'fourth', title: 'Fourth', description: 'New.' }],
  components: {
    schemas: {
      Fourth: {
        type: 'object',
        required: ['text', 'labels'],
        $defs: { Tone: { enum: ['dry', 'warm', null] } },
        properties: {
          text: { type: 'string', minLength: 1, maxLength: 100000, description: 'What to read.' },
          language: nullable({ type: 'string', maxLength: 40 }),
          note: { type: ['string', 'null'], 'x-multiline': true },
          labels: { type: 'array', minItems: 2, items: { anyOf: [{ type: 'string' }, { $ref: '#/components/schemas/Label' }] } },
          examples: nullable({ type: 'array', items: { $ref: '#/components/schemas/Shown' } }),
          tone: nullable({ $ref: '#/$defs/Tone' }),
          explain: { type: 'boolean', default: true },
          temperature: nullable({ type: 'number', minimum: 0, maximum: 2 }),
          stop: { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }, { type: 'null' }] },
          metadata: { type: 'object', additionalProperties: { type: 'string' } },
          messages: { type: 'array', items: { type: 'object', properties: { role: { type: 'string' } } } },
          strange: { type: 'object' },
        },
      },
      Label: { type: 'object', properties: { name: { type: 'string' }, description: nullable({ type: 'string' }) } },
      Shown: { type: 'object', properties: { text: { type: 'string' }, label: { type: 'string' } } },
    },
  },
  paths: { '/v1/fourth': { post: { requestBody: { content: { 'application/json': {
    schema: { $ref: '#/components/schemas/Fourth' },
    examples: { parcel: { summary: 'A parcel', value: { text: 'Late.' } } },
  } } } } } },
};

test('an unknown task gets its form from its schema', () => {
  assert.deepEqual(tasksOf(DOC).map((task) => task.name), ['fourth']);
  const { fields, examples } = formOf(DOC, 'fourth');
  assert.deepEqual(fields.map(({ name, kind }) => [name, kind]), [
    ['text', 'multiline'], ['language', 'text'], ['note', 'multiline'], ['labels', 'labels'], ['examples', 'rows'],
    ['tone', 'enum'], ['explain', 'boolean'], ['temperature', 'number'], ['stop', 'lines'],
  ]);
  assert.deepEqual(fields.filter((field) => field.common).map((field) => field.name), ['temperature', 'stop']);
  assert.equal(fields[0].required, true);
  assert.deepEqual([fields[7].min, fields[7].max], [0, 2]);
  assert.deepEqual(fields[5].options, ['dry', 'warm']);
  assert.deepEqual(examples, [{ title: 'A parcel', value: { text: 'Late.' } }]);
  assert.equal(mainField(fields).name, 'text');
});

test('controls are read as a request, and empty controls send nothing', () => {
  const fields = Object.fromEntries(formOf(DOC, 'fourth').fields.map((field) => [field.name, field]));
  const labels = ['plain', { name: 'long', description: 'a: b' }, 'a:b'];
  assert.deepEqual(fromControl(fields.labels, toControl(fields.labels, labels)), labels);
  assert.deepEqual(fromControl(fields.stop, ' a \n\n b'), ['a', 'b']);
  assert.deepEqual(fromControl(fields.examples, [{ text: 'x', label: 'y' }, { text: '', label: '' }]), [{ text: 'x', label: 'y' }]);
  assert.equal(fromControl(fields.temperature, '0.5'), 0.5);
  assert.equal(fromControl(fields.explain, false), false);
  for (const field of Object.values(fields)) assert.equal(fromControl(field, toControl(field, undefined)), undefined, field.name);
});

const blocks = (...chunks) => {
  const reader = new Blocks();
  for (const chunk of chunks) reader.push(chunk);
  return reader.list.map(({ empty, ...block }) => block);
};
const SAMPLE = '# Head\n\nOne *two*\nthree.\n\n- a\n  - b\n\n1. x\n2. y\n\n> said\n> so\n\n```py\ndef f():\n\n    return "```"\n```\nafter\n\n---\n#no heading\n';

test('Markdown is parsed into blocks', () => {
  assert.deepEqual(blocks(SAMPLE).map((block) => [block.kind, block.text]), [
    ['heading', 'Head'], ['paragraph', 'One *two*\nthree.'], ['item', 'a'], ['item', 'b'], ['item', 'x'], ['item', 'y'],
    ['quote', 'said\nso'], ['code', 'def f():\n\n    return "```"'], ['paragraph', 'after'], ['rule', ''], ['paragraph', '#no heading'],
  ]);
});

test('chunks do not change the blocks of Markdown', () => {
  const whole = blocks(SAMPLE);
  assert.deepEqual(blocks(...SAMPLE), whole);
  for (let cut = 0; cut < SAMPLE.length; cut += 1) assert.deepEqual(blocks(SAMPLE.slice(0, cut), SAMPLE.slice(cut)), whole, `cut at ${cut}`);
});

test('code is only ever appended to', () => {
  const reader = new Blocks();
  let shown = '';
  for (const char of '```\na\n  b`` `\n``\n\nc\n```\n') {
    reader.push(char);
    const text = reader.list[0]?.text ?? '';
    assert.ok(text.startsWith(shown), JSON.stringify([shown, text]));
    shown = text;
  }
  assert.equal(shown, 'a\n  b`` `\n``\n\nc');
});

test('push returns the first block that changed', () => {
  const reader = new Blocks();
  let before = [];
  for (const char of SAMPLE) {
    const from = reader.push(char);
    assert.deepEqual(reader.list.slice(0, from), before.slice(0, from));
    before = structuredClone(reader.list);
  }
});

test('a very long line takes linear time and keeps all text', () => {
  const reader = new Blocks();
  const word = 'word '.repeat(50);
  const began = performance.now();
  for (let count = 0; count < 2000; count += 1) reader.push(word);
  assert.ok(performance.now() - began < 3000);
  assert.equal(reader.list.map((block) => block.text).join('').length, word.length * 2000);
  assert.ok(reader.list.slice(1).every((block) => block.joined));
});

test('emphasis nests, and other text stays unchanged', () => {
  assert.deepEqual(inline('a **b *c*** `*d*` snake_case_name 2 * 3 * 4 \\*e\\*'), [
    { kind: 'text', text: 'a ' },
    { kind: 'strong', children: [{ kind: 'text', text: 'b ' }, { kind: 'em', children: [{ kind: 'text', text: 'c' }] }] },
    { kind: 'text', text: ' ' },
    { kind: 'code', text: '*d*' },
    { kind: 'text', text: ' snake_case_name 2 * 3 * 4 *e*' },
  ]);
  assert.deepEqual(inline('<img src=x onerror=alert(1)> [a](javascript:b)'), [{ kind: 'text', text: '<img src=x onerror=alert(1)> [a](javascript:b)' }]);
});

test('malicious emphasis is parsed quickly', () => {
  const began = performance.now();
  for (const text of ['`'.repeat(4000), '*'.repeat(4000), '*a '.repeat(1300), '_a'.repeat(2000), '`a``b'.repeat(800), '**a*'.repeat(1000)]) inline(text);
  assert.ok(performance.now() - began < 1000, `${performance.now() - began} ms`);
});

test('the curl command is quoted for the shell', () => {
  const request = { prompt: `it's "$HOME" \`x\` \\ \n end` };
  const line = curl('http://h', 'text', request, 'post').replace(/^curl/, 'printf "%s\\0"');
  const args = execFileSync('sh', ['-c', line], { encoding: 'utf8' }).split('\0');
  assert.deepEqual(JSON.parse(args[args.indexOf('-d') + 1]), request);
  assert.match(curl('http://h', 'text', { labels: [{ name: 'a' }] }, 'eventsource'), /^# Query parameters/);
  assert.match(curl('https://h', 'text', request, 'websocket'), /wss:\/\/h\/v1\/text\/ws/);
  assert.doesNotMatch(curl('http://h', 'text', request, 'json'), /Authorization/);
});
