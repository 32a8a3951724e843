/**
 * The answer of the model, drawn part by part as it arrives.
 *
 * This module knows the parts of an answer, not the tasks. So it can draw any new task
 * that sends `delta` or `label` events. Other fields of a result are shown as JSON.
 */

import { el, nextFrame } from './dom.js';
import { MarkdownView, codeFigure } from './markdown-view.js';

/** The fields of a result that are not shown as JSON. */
const SHOWN = ['text', 'code', 'language', 'explanation', 'syntax', 'label', 'labels', 'rationale'];
const PROSE = { text: '', explanation: 'Explanation', rationale: 'Rationale' };

export class ResultView {
  #pending = new Map();
  #parts = new Map();
  #bars = new Map();
  /** Whether the view follows the end of the answer: until the user scrolls up. */
  #followEnd = true;

  constructor(host) {
    this.host = host;
    this.draw = () => this.flush();
    host.addEventListener('scroll', () => (this.#followEnd = host.scrollHeight - host.scrollTop - host.clientHeight < 32), { passive: true });
  }

  /**
   * Empties the view for a new request.
   * @param {object} request each requested label gets its bar now, so that the page does not shift later
   */
  clear(request = {}) {
    this.#pending.clear();
    this.#parts.clear();
    this.#bars.clear();
    this.#followEnd = true;
    this.multiLabel = request.multi_label === true;
    this.host.replaceChildren();
    if (Array.isArray(request.labels)) for (const label of request.labels) this.#bar(label.name ?? label);
  }

  /** Adds the text of a `delta` event. All text of one animation frame is drawn together. */
  text(part, text) {
    this.#pending.set(part, (this.#pending.get(part) ?? '') + text);
    nextFrame(this.draw);
  }

  /** Shows the score of a `label` event. */
  label(label, score) {
    const { fill, value } = this.#bar(label);
    fill.style.transform = `scaleX(${Math.max(0, Math.min(1, score))})`;
    value.textContent = score.toFixed(2);
  }

  /** Draws the text that has not been drawn yet. */
  flush() {
    for (const [part, text] of this.#pending) this.#part(part).push(text);
    this.#pending.clear();
    if (this.#followEnd) this.host.scrollTop = this.host.scrollHeight;
  }

  /** Completes the answer: adds the parts that were not streamed, the syntax check and the best label. */
  finish(result) {
    this.flush();
    const streamed = this.#parts.size > 0;
    for (const part of ['text', 'code', 'explanation', 'rationale']) {
      if (typeof result[part] === 'string' && result[part] && !this.#parts.has(part)) this.#part(part).push(result[part]);
    }
    if (this.#parts.has('code')) this.#showSyntax(result);
    if (Array.isArray(result.labels)) this.#showScores(result);
    const rest = Object.entries(result).filter(([name, value]) => !SHOWN.includes(name) && value !== null);
    if (rest.length) this.host.append(jsonFigure(Object.fromEntries(rest)));
    // Streamed text stays at its end, where the user reads. Code and JSON answers are shown from the top.
    if (this.#followEnd) this.host.scrollTop = streamed && !this.#parts.has('code') ? this.host.scrollHeight : 0;
  }

  /** Adds a node after the answer, such as an error card. */
  append(node) {
    this.flush();
    this.host.append(node);
    node.scrollIntoView({ block: 'nearest' });
  }

  #part(part) {
    if (!this.#parts.has(part)) this.#parts.set(part, this.#create(part));
    return this.#parts.get(part);
  }

  #create(part) {
    if (part === 'thought') return this.#thoughts();
    if (part === 'code') {
      const figure = codeFigure('');
      figure.node.classList.add('first');
      this.host.append(figure.node);
      return { push: (text) => figure.code.push(text), ...figure };
    }
    const title = PROSE[part] ?? part;
    const section = el('section', { class: `prose ${part === 'text' ? 'main' : ''}` });
    this.host.append(section);
    if (title) section.append(el('h3', { class: 'part', textContent: title }));
    const body = el('div');
    section.append(body);
    return new MarkdownView(body);
  }

  #thoughts() {
    const body = el('div', { class: 'prose' });
    this.host.prepend(el('details', { class: 'thoughts', open: true }, el('summary', { textContent: 'Thoughts' }), body));
    return new MarkdownView(body);
  }

  #showSyntax({ language, syntax }) {
    const { name, syntaxStatus } = this.#parts.get('code');
    if (language) name.textContent = language;
    if (!syntax) return void (syntaxStatus.textContent = 'Syntax not checked');
    const valid = syntax.valid ?? syntax.ok ?? syntax.parses;
    const where = [syntax.line && `line ${syntax.line}`, syntax.column && `column ${syntax.column}`].filter(Boolean).join(', ');
    syntaxStatus.textContent = valid ? 'Syntax is valid' : `Syntax error${where ? ` in ${where}` : ''}`;
    syntaxStatus.dataset.valid = String(Boolean(valid));
  }

  #showScores({ label, labels }) {
    for (const entry of labels) this.label(entry.label ?? entry.name, entry.score);
    for (const [name, { row, note }] of this.#bars) {
      row.dataset.best = String(name === label);
      row.dataset.applies = String(name === label || (this.multiLabel && labels.some((entry) => entry.label === name)));
      note.textContent = name === label ? 'best' : '';
    }
    if (label === null && labels.length) this.host.append(el('p', { class: 'none', textContent: 'No label scored high enough.' }));
  }

  #bar(name) {
    if (this.#bars.has(name)) return this.#bars.get(name);
    const host = this.host.querySelector('.bars') ?? this.host.appendChild(el('ul', { class: 'bars', 'aria-label': 'Labels and their scores' }));
    const bar = { fill: el('span', { class: 'fill' }), value: el('span', { class: 'value', textContent: '–' }), note: el('span', { class: 'note' }) };
    bar.row = el('li', {}, el('span', { class: 'name', textContent: name }), bar.note, bar.value, el('span', { class: 'track', 'aria-hidden': 'true' }, bar.fill));
    host.append(bar.row);
    this.#bars.set(name, bar);
    return bar;
  }
}

function jsonFigure(value) {
  const figure = codeFigure('json');
  figure.code.push(JSON.stringify(value, null, 2));
  return figure.node;
}
