/**
 * The result pane: what the model says, part by part, as it comes.
 *
 * It knows parts and results, not tasks: a task of tomorrow that sends `text` or
 * `label` events is drawn like those of today, and whatever is left is JSON.
 */

import { el, nextFrame } from './dom.js';
import { MarkdownView, codeFigure } from './markdown-view.js';

/** What of a result has a place of its own; the rest is shown as JSON. */
const SHOWN = ['text', 'code', 'language', 'explanation', 'syntax', 'label', 'labels', 'rationale'];
const PROSE = { text: '', explanation: 'Explanation', rationale: 'Why' };

export class ResultView {
  #pending = new Map();
  #parts = new Map();
  #bars = new Map();
  #stick = true;

  constructor(host) {
    this.host = host;
    this.draw = () => this.flush();
    host.addEventListener('scroll', () => (this.#stick = host.scrollHeight - host.scrollTop - host.clientHeight < 32), { passive: true });
  }

  /** @param {object} request labels that are asked for get their bar at once, so nothing jumps later */
  clear(request = {}) {
    this.#pending.clear();
    this.#parts.clear();
    this.#bars.clear();
    this.#stick = true;
    this.several = request.multi_label === true;
    this.host.replaceChildren();
    if (Array.isArray(request.labels)) for (const label of request.labels) this.#bar(label.name ?? label);
  }

  /** One `delta`: kept until the next frame, then written in one go. */
  text(part, text) {
    this.#pending.set(part, (this.#pending.get(part) ?? '') + text);
    nextFrame(this.draw);
  }

  /** One `label`. */
  label(label, score) {
    const { fill, value } = this.#bar(label);
    fill.style.transform = `scaleX(${Math.max(0, Math.min(1, score))})`;
    value.textContent = score.toFixed(2);
  }

  flush() {
    for (const [part, text] of this.#pending) this.#part(part).push(text);
    this.#pending.clear();
    if (this.#stick) this.host.scrollTop = this.host.scrollHeight;
  }

  /** The ending: what was not streamed is added, the verdicts are filled in. */
  finish(result) {
    this.flush();
    const streamed = this.#parts.size > 0;
    for (const part of ['text', 'code', 'explanation', 'rationale']) {
      if (typeof result[part] === 'string' && result[part] && !this.#parts.has(part)) this.#part(part).push(result[part]);
    }
    if (this.#parts.has('code')) this.#verdict(result);
    if (Array.isArray(result.labels)) this.#scores(result);
    const rest = Object.entries(result).filter(([name, value]) => !SHOWN.includes(name) && value !== null);
    if (rest.length) this.host.append(jsonFigure(Object.fromEntries(rest)));
    // Who follows the text as it comes reads at its end. Code, and what came at once, begins at its top.
    if (this.#stick) this.host.scrollTop = streamed && !this.#parts.has('code') ? this.host.scrollHeight : 0;
  }

  /** A node after everything, such as an error. */
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
      return { push: (text) => figure.sink.push(text), ...figure };
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

  #verdict({ language, syntax }) {
    const { name, verdict } = this.#parts.get('code');
    if (language) name.textContent = language;
    if (!syntax) return void (verdict.textContent = 'syntax not checked');
    const good = syntax.valid ?? syntax.ok ?? syntax.parses;
    const where = [syntax.line && `line ${syntax.line}`, syntax.column && `column ${syntax.column}`].filter(Boolean).join(', ');
    verdict.textContent = good ? 'parses' : `does not parse${where ? `: ${where}` : ''}`;
    verdict.dataset.good = String(Boolean(good));
  }

  #scores({ label, labels }) {
    for (const entry of labels) this.label(entry.label ?? entry.name, entry.score);
    for (const [name, { row, note }] of this.#bars) {
      row.dataset.best = String(name === label);
      row.dataset.applies = String(name === label || (this.several && labels.some((entry) => entry.label === name)));
      note.textContent = name === label ? 'best' : '';
    }
    if (label === null && labels.length) this.host.append(el('p', { class: 'none', textContent: 'No label fits well enough.' }));
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
  figure.sink.push(JSON.stringify(value, null, 2));
  return figure.node;
}
