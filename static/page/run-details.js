/** The panels below the result: the summary, the timeline and the raw events of a run. */

import { byId, copyButton, el, nextFrame } from './dom.js';
import { seconds } from './metrics.js';

/** How many raw events the page keeps. */
const MAX_RAW_EVENTS = 500;

/** The steps of a run. The latest is also the status message, which screen readers announce. */
export class Timeline {
  constructor() {
    this.list = byId('timeline');
    this.latest = byId('status-message');
  }

  clear() {
    this.list.replaceChildren();
    this.latest.textContent = '';
  }

  /**
   * @param {number} elapsed milliseconds since the run started
   * @param {string} text
   * @param {''|'good'|'warning'|'bad'} [kind] sets the colour
   */
  add(elapsed, text, kind = '') {
    this.list.append(el('li', { 'data-kind': kind }, el('time', { textContent: `${seconds(elapsed)} s` }), el('span', { textContent: text })));
    this.list.scrollTop = this.list.scrollHeight;
    this.latest.textContent = text;
    this.latest.dataset.kind = kind;
  }
}

/** The last 500 events as they were received. They are drawn only while the panel is open. */
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
    if (this.#all.length > MAX_RAW_EVENTS) this.#all.shift();
    nextFrame(this.draw);
  }

  #draw() {
    byId('raw-count').textContent = this.#count > MAX_RAW_EVENTS ? `last ${MAX_RAW_EVENTS} of ${this.#count}` : this.#count ? `${this.#count}` : '';
    if (!this.panel.open) return;
    const atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 32;
    const missing = Math.min(this.#count - this.#drawn, this.#all.length);
    this.list.append(...this.#all.slice(this.#all.length - missing).map((text) => el('div', { textContent: escapeInvisible(text) })));
    while (this.list.children.length > MAX_RAW_EVENTS) this.list.firstChild.remove();
    this.#drawn = this.#count;
    if (atEnd) this.list.scrollTop = this.list.scrollHeight;
  }
}

/** Escapes control characters and those that change the text direction: they would hide or reorder text. */
function escapeInvisible(text) {
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/**
 * Shows the values that are known only at the end of a run.
 * @param {?object} answer the data of the ending event; null: no values yet
 */
export function showSummary(answer = null) {
  const { usage = {}, model = {}, finish_reason: finish, cache, timings = {} } = answer ?? {};
  const values = {
    'Input tokens': usage.input_tokens,
    'Output tokens': usage.output_tokens,
    'Thoughts in output': usage.thought_tokens,
    'Requested model': model.requested,
    'Served by model': model.served,
    'Dropped settings': model.dropped?.length ? model.dropped.join(', ') : model.served ? 'none' : undefined,
    Cache: cache,
    'Finish reason': finish,
    'Time in queue': timings.queue_ms === undefined ? undefined : `${timings.queue_ms} ms`,
    'Server time': timings.total_ms === undefined ? undefined : `${timings.total_ms} ms`,
    Generation: answer?.id,
  };
  byId('summary').replaceChildren(
    ...Object.entries(values).map(([name, value]) => el('div', { class: name === 'Generation' ? 'wide' : null }, el('dt', { textContent: name }), el('dd', { textContent: value ?? '–' }))),
  );
}
