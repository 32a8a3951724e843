/** What lies below the result: the timeline, the raw events, the facts at the end. */

import { byId, copyButton, el, nextFrame } from './dom.js';
import { seconds } from './metrics.js';

const KEPT = 500;

/** The moments of a run worth a line. The latest stands above the tape, and is what a screen reader hears. */
export class Timeline {
  constructor() {
    this.list = byId('timeline');
    this.latest = byId('moment');
  }

  clear() {
    this.list.replaceChildren();
    this.latest.textContent = '';
  }

  /** @param {number} elapsed @param {string} text @param {string} [kind] for its colour: lost, good, bad */
  add(elapsed, text, kind = '') {
    this.list.append(el('li', { 'data-kind': kind }, el('time', { textContent: `${seconds(elapsed)} s` }), el('span', { textContent: text })));
    this.list.scrollTop = this.list.scrollHeight;
    this.latest.textContent = text;
    this.latest.dataset.kind = kind;
  }
}

/** The events as they came over the wire; the last 500. Drawn only while someone looks. */
export class RawEvents {
  #all = [];
  #drawn = 0;
  #count = 0;

  constructor() {
    this.list = byId('raw');
    this.panel = this.list.closest('details');
    this.draw = () => this.#draw();
    this.panel.addEventListener('toggle', () => this.#draw());
    byId('raw-tools').append(copyButton(() => this.#all.join('\n\n'), 'Copy all'));
  }

  clear() {
    this.#all = [];
    this.#drawn = this.#count = 0;
    this.list.replaceChildren();
    byId('raw-count').textContent = '';
  }

  add(text) {
    this.#all.push(text);
    this.#count += 1;
    if (this.#all.length > KEPT) this.#all.shift();
    nextFrame(this.draw);
  }

  #draw() {
    byId('raw-count').textContent = this.#count > KEPT ? `last ${KEPT} of ${this.#count}` : this.#count ? `${this.#count}` : '';
    if (!this.panel.open) return;
    const stick = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 32;
    const fresh = Math.min(this.#count - this.#drawn, this.#all.length);
    this.list.append(...this.#all.slice(this.#all.length - fresh).map((text) => el('div', { textContent: visible(text) })));
    while (this.list.children.length > KEPT) this.list.firstChild.remove();
    this.#drawn = this.#count;
    if (stick) this.list.scrollTop = this.list.scrollHeight;
  }
}

/** Control and direction characters, which would otherwise hide or reorder what came. */
function visible(text) {
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** What is known only at the end. */
export function showFacts(answer = null) {
  const { usage = {}, model = {}, finish_reason: finish, cache, timings = {} } = answer ?? {};
  const facts = {
    'Tokens in': usage.input_tokens,
    'Tokens out': usage.output_tokens,
    'of them thought': usage.thought_tokens,
    'Model asked': model.requested,
    'Model served': model.served,
    'Settings dropped': model.dropped?.length ? model.dropped.join(', ') : model.served ? 'none' : undefined,
    Cache: cache,
    Finish: finish,
    Queue: timings.queue_ms === undefined ? undefined : `${timings.queue_ms} ms`,
    'Server total': timings.total_ms === undefined ? undefined : `${timings.total_ms} ms`,
    Generation: answer?.id,
  };
  byId('facts').replaceChildren(
    ...Object.entries(facts).map(([name, value]) => el('div', { class: name === 'Generation' ? 'wide' : null }, el('dt', { textContent: name }), el('dd', { textContent: value ?? '–' }))),
  );
}
