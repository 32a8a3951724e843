/**
 * Turns the OpenAPI document of the server into the fields of a form, and the values of
 * the form into a request. No DOM. The schema is all it needs, so new tasks get a form too.
 */

/** The fields that all tasks share. The page shows them under "Options". */
export const COMMON = ['model', 'temperature', 'max_output_tokens', 'stop', 'include_thoughts', 'metadata', 'cache', 'on_disconnect', 'messages'];

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {string} help
 * @property {'text'|'multiline'|'number'|'boolean'|'enum'|'lines'|'labels'|'rows'} kind
 * @property {boolean} required
 * @property {boolean} common
 * @property {*} default
 * @property {*} example
 */

/** The tasks of the server: `[{name, title, description}]`. */
export function tasksOf(doc) {
  return (doc['x-streamapi-tasks'] ?? []).map((task) => (typeof task === 'string' ? { name: task } : task));
}

/** The form of a task: its fields and its example requests (`[{title, value}]`). */
export function formOf(doc, task) {
  const content = doc.paths?.[`/v1/${task}`]?.post?.requestBody?.content?.['application/json'] ?? {};
  const root = resolve(doc, content.schema ?? {}, {});
  const required = root.required ?? [];
  const fields = [];
  for (const [name, schema] of Object.entries(root.properties ?? {})) {
    const field = fieldOf(doc, root, name, schema, required.includes(name));
    if (field) fields.push(field);
  }
  return { fields, examples: examplesOf(content, root) };
}

function examplesOf(content, schema) {
  const named = Object.entries(content.examples ?? {}).map(([title, example]) => ({ title: example.summary ?? title, value: example.value }));
  const plain = [content.example, ...(schema.examples ?? []), schema.example].filter((value) => value && typeof value === 'object');
  return [...named, ...plain.map((value, index) => ({ title: `Example ${index + 1}`, value }))].filter(({ value }) => value);
}

/** Replaces a `$ref` by its target, in the document or in the `$defs` of the schema. */
function resolve(doc, schema, root) {
  for (let hops = 0; schema?.$ref && hops < 16; hops += 1) {
    const { $ref, ...beside } = schema;
    const path = $ref.replace(/^#\//, '').split('/').map((part) => decodeURIComponent(part).replace(/~1/g, '/').replace(/~0/g, '~'));
    const walk = (from) => path.reduce((node, part) => node?.[part], from);
    schema = { ...(walk(doc) ?? walk(root) ?? {}), ...beside };
  }
  return schema ?? {};
}

/** The alternatives of a schema except null, from `anyOf`, `oneOf`, a single `allOf` or a list of types. */
function alternatives(doc, schema, root) {
  schema = resolve(doc, schema, root);
  const { anyOf, oneOf, allOf, ...rest } = schema;
  const union = anyOf ?? oneOf ?? (allOf?.length === 1 ? allOf : null);
  if (union) return union.flatMap((part) => alternatives(doc, part, root)).map((part) => ({ ...part, ...described(rest) }));
  if (Array.isArray(schema.type)) return schema.type.filter((type) => type !== 'null').map((type) => ({ ...schema, type }));
  return schema.type === 'null' || schema.const === null ? [] : [schema];
}

/** The keywords beside a union that describe the field, whichever alternative is used. */
function described({ title, description, default: value, examples, example, ...rest }) {
  const keywords = { title, description, default: value, examples, example, 'x-multiline': rest['x-multiline'] };
  return Object.fromEntries(Object.entries(keywords).filter(([, value]) => value !== undefined));
}

const PREFERENCE = ['labels', 'lines', 'rows', 'enum', 'multiline', 'text', 'number', 'boolean'];

function fieldOf(doc, root, name, schema, required) {
  const found = alternatives(doc, schema, root)
    .map((part) => ({ part, ...kindOf(doc, root, part) }))
    .filter(({ kind }) => kind)
    .sort((a, b) => PREFERENCE.indexOf(a.kind) - PREFERENCE.indexOf(b.kind))[0];
  if (!found || ['metadata', 'messages'].includes(name)) return null;
  const { part, ...kind } = found;
  return {
    name,
    label: humanise(name),
    help: part.description ?? '',
    required,
    common: COMMON.includes(name),
    default: part.default ?? null,
    example: part.examples?.[0] ?? part.example ?? null,
    min: part.minimum ?? part.exclusiveMinimum ?? null,
    max: part.maximum ?? part.exclusiveMaximum ?? null,
    minItems: part.minItems ?? 0,
    maxLength: part.maxLength ?? null,
    ...kind,
  };
}

function kindOf(doc, root, part) {
  const options = part.enum ?? (part.const !== undefined ? [part.const] : null);
  if (options) return { kind: 'enum', options: options.filter((option) => option !== null) };
  if (part.type === 'boolean') return { kind: 'boolean' };
  if (part.type === 'integer') return { kind: 'number', integer: true };
  if (part.type === 'number') return { kind: 'number', integer: false };
  if (part.type === 'string') return { kind: part['x-multiline'] || part.maxLength > 200 ? 'multiline' : 'text' };
  if (part.type !== 'array') return {};
  const items = alternatives(doc, part.items ?? {}, root);
  const object = items.find((item) => item.type === 'object' || item.properties);
  if (items.some((item) => item.type === 'string')) return { kind: object?.properties?.name ? 'labels' : 'lines' };
  if (!object?.properties) return {};
  const columns = Object.entries(object.properties)
    .map(([name, schema]) => ({ name, label: humanise(name), ...kindOf(doc, root, alternatives(doc, schema, root)[0] ?? {}) }))
    .filter(({ kind }) => ['text', 'multiline', 'number'].includes(kind));
  return columns.length ? { kind: 'rows', columns } : {};
}

export function humanise(name) {
  const words = name.replace(/_/g, ' ').trim();
  return words[0].toUpperCase() + words.slice(1);
}

/** The control's content for a value: a string, a boolean, or a list of rows. */
export function toControl(field, value) {
  if (field.kind === 'boolean') return value ?? field.default ?? false;
  if (value === null || value === undefined) return field.kind === 'rows' ? [] : '';
  if (field.kind === 'lines') return value.join('\n');
  if (field.kind === 'labels') return value.map((label) => (typeof label === 'string' ? label : [label.name, label.description].filter(Boolean).join(': '))).join('\n');
  return field.kind === 'rows' ? value : String(value);
}

/** The value for the request, or undefined if the control is empty or at its default. */
export function fromControl(field, raw) {
  if (field.kind === 'boolean') return raw === (field.default ?? false) ? undefined : raw;
  if (field.kind === 'number') return raw.trim() === '' || Number.isNaN(Number(raw)) ? undefined : Number(raw);
  if (field.kind === 'enum') return field.options.find((option) => String(option) === raw);
  if (field.kind === 'lines') return nonEmpty(lines(raw));
  if (field.kind === 'labels') return nonEmpty(lines(raw).map(label));
  if (field.kind === 'rows') return nonEmpty(raw.map((row) => rowOf(field, row)).filter((row) => Object.keys(row).length));
  return raw === '' ? undefined : raw;
}

const nonEmpty = (list) => (list.length ? list : undefined);
const lines = (raw) => raw.split('\n').map((line) => line.trim()).filter(Boolean);

/** Splits `name: description`. Only a colon before a space separates, so that `a:b` is a name. */
function label(line) {
  const at = line.indexOf(': ');
  return at < 1 ? line : { name: line.slice(0, at).trim(), description: line.slice(at + 2).trim() };
}

function rowOf(field, row) {
  const entries = field.columns.map((column) => [column.name, fromControl(column, row[column.name] ?? '')]);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

/** The field for the main text: the first required long text, else a field named prompt or text, else the first text. */
export function mainField(fields) {
  const texts = fields.filter((field) => ['multiline', 'text'].includes(field.kind) && !field.common);
  return texts.find((field) => field.required && field.kind === 'multiline') ?? texts.find((field) => ['prompt', 'text'].includes(field.name)) ?? texts[0] ?? null;
}
