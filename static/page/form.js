/** The form of one task: it creates a control for each field and reads the controls as a request. */

import { byId, withCode, el } from './dom.js';
import { spans } from './markdown-view.js';
import { fromControl, mainField, toControl } from './schema.js';

const HINTS = { lines: 'One per line.', labels: 'One per line. Write “name: description” to describe a label to the model.' };

export class Form {
  #controls = new Map();

  /**
   * @param {HTMLElement} host receives the fields of the task
   * @param {HTMLElement} options receives the fields that all tasks share
   */
  constructor(host, options) {
    this.host = host;
    this.options = options;
    this.fields = [];
  }

  /**
   * Replaces the controls by those of a task.
   * @param {{fields: object[], examples: object[]}} form
   * @param {string[]} models the ids that the model field offers
   */
  show(form, models) {
    this.fields = form.fields;
    this.#controls.clear();
    this.host.replaceChildren();
    this.options.replaceChildren();
    const main = mainField(form.fields);
    for (const field of form.fields) {
      const control = this.#control(field, field === main, models);
      this.#controls.set(field.name, control);
      (field.common ? this.options : this.host).append(this.#labelled(field, control));
    }
    if (form.examples.length > 1) this.host.prepend(this.#picker(form.examples));
    this.fill(form.examples[0]?.value ?? this.#fieldExamples());
  }

  #fieldExamples() {
    const own = this.fields.filter((field) => !field.common && field.example !== null);
    return Object.fromEntries(own.map((field) => [field.name, field.example]));
  }

  /** Shows the values of a request. */
  fill(request) {
    for (const field of this.fields) this.#controls.get(field.name).set(toControl(field, request[field.name]));
  }

  /** The request that the controls describe. `suffix` is appended to the main text. */
  read(suffix = '') {
    const request = {};
    for (const field of this.fields) {
      const value = fromControl(field, this.#controls.get(field.name).get());
      if (value !== undefined) request[field.name] = value;
    }
    const main = mainField(this.fields);
    if (suffix && main) request[main.name] = (request[main.name] ?? '') + suffix;
    return request;
  }

  /** Shows each error below its field. Returns the errors that belong to no field of the form. */
  showErrors(errors) {
    this.clearErrors();
    const unplaced = errors.filter(({ pointer = '', detail }) => {
      const name = pointer.split('/')[1];
      const control = this.#controls.get(name);
      if (!control) return true;
      const where = pointer.split('/').slice(2).map((part) => (/^\d+$/.test(part) ? `Item ${Number(part) + 1}` : part)).join(' ');
      const note = byId(`error-${name}`);
      note.append(...withCode(`${note.textContent ? ' ' : ''}${where ? `${where} ` : ''}${detail}${/[.?!]$/.test(detail) ? '' : '.'}`));
      note.hidden = false;
      control.input.setAttribute('aria-invalid', 'true');
      return false;
    });
    return unplaced;
  }

  /** Moves the focus to the first field with an error, if there is one. */
  focusFirstError() {
    const first = this.host.querySelector('[aria-invalid]') ?? this.options.querySelector('[aria-invalid]');
    if (!first) return;
    if (this.options.contains(first)) this.options.closest('details').open = true;
    first.focus();
    // The error message is below the field, so `focus` alone can leave it out of sight.
    first.closest('.field').scrollIntoView({ block: 'nearest' });
  }

  clearErrors() {
    for (const { input } of this.#controls.values()) input.removeAttribute('aria-invalid');
    for (const root of [this.host, this.options]) for (const note of root.querySelectorAll('.error')) Object.assign(note, { textContent: '', hidden: true });
  }

  #labelled(field, control) {
    const id = `field-${field.name}`;
    const hint = [field.help, HINTS[field.kind]].filter(Boolean).join(' ');
    const label = el('label', { for: id }, field.label, field.required ? el('span', { class: 'required', textContent: ' required' }) : null);
    const parts = [
      hint ? el('p', { class: 'hint', id: `hint-${field.name}` }, ...spans(hint)) : null,
      el('p', { class: 'error', id: `error-${field.name}`, hidden: true }),
    ];
    control.input.setAttribute('aria-describedby', [hint && `hint-${field.name}`, `error-${field.name}`].filter(Boolean).join(' '));
    const order = field.kind === 'boolean' ? [control.node, label] : [label, control.node];
    return el('div', { class: `field ${field.kind}` }, ...order, ...parts);
  }

  #control(field, main, models) {
    const id = `field-${field.name}`;
    if (field.kind === 'rows') return rows(field, id);
    if (field.kind === 'boolean') {
      const input = el('input', { type: 'checkbox', id });
      return { node: input, input, get: () => input.checked, set: (value) => (input.checked = value) };
    }
    const input = this.#input(field, id, main, models);
    return { node: input, input, get: () => input.value, set: (value) => (input.value = value) };
  }

  #input(field, id, main, models) {
    const placeholder = field.default === null || typeof field.default === 'object' ? '' : `${field.default}`;
    if (field.kind === 'enum' || (field.name === 'model' && models.length)) {
      const options = field.options ?? models;
      const none = field.required ? [] : [el('option', { value: '', textContent: placeholder ? `Default (${placeholder})` : 'Default' })];
      return el('select', { id }, ...none, ...options.map((option) => el('option', { value: String(option), textContent: String(option) })));
    }
    if (field.kind === 'number') {
      return el('input', { id, type: 'number', inputMode: field.integer ? 'numeric' : 'decimal', min: field.min ?? '', max: field.max ?? '', step: field.integer ? '1' : 'any', placeholder });
    }
    const common = { id, placeholder, spellcheck: false, autocomplete: 'off' };
    if (field.kind === 'text') return el('input', { ...common, type: 'text' });
    return el('textarea', { ...common, rows: main ? 5 : field.kind === 'labels' ? 4 : 2, class: main ? 'main' : null });
  }

  #picker(examples) {
    const chips = examples.map(({ title, value }) => {
      const chip = el('button', { type: 'button', class: 'chip', textContent: title });
      chip.addEventListener('click', () => this.fill(value));
      return chip;
    });
    return el('div', { class: 'chips', role: 'group', 'aria-label': 'Examples' }, ...chips);
  }
}

/** The control for a list of objects: one row of inputs for each, with buttons to add and remove rows. */
function rows(field, id) {
  const list = el('div', { class: 'rows' });
  const add = el('button', { type: 'button', id, class: 'quiet', textContent: 'Add a row' });
  const append = (values = {}) => {
    const inputs = field.columns.map((column) =>
      el('input', { type: column.kind === 'number' ? 'number' : 'text', value: values[column.name] ?? '', placeholder: column.label, 'aria-label': `${field.label}: ${column.label}`, 'data-column': column.name }));
    const remove = el('button', { type: 'button', class: 'quiet', textContent: '×', 'aria-label': 'Remove this row' });
    const row = el('div', { class: 'row' }, ...inputs, remove);
    remove.addEventListener('click', () => (row.remove(), add.focus()));
    list.append(row);
    return row;
  };
  add.addEventListener('click', () => append().querySelector('input').focus());
  const get = () => Array.from(list.children, (row) => Object.fromEntries(Array.from(row.querySelectorAll('input'), (input) => [input.dataset.column, input.value])));
  const set = (values) => (list.replaceChildren(), values.forEach((value) => append(value)));
  return { node: el('div', {}, list, add), input: add, get, set };
}
