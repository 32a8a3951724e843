/**
 * The clock of a run: state, time to the first token, speed, events, and the
 * tape, on which every event is a tick at the moment it came.
 */

import { byId } from './dom.js';

const STATES = {
  idle: 'Ready', connecting: 'Connecting', open: 'Waiting', streaming: 'Streaming', reconnecting: 'Reconnecting',
  stopping: 'Stopping', done: 'Done', failed: 'Failed', cancelled: 'Stopped',
};
const LIVE = ['connecting', 'open', 'streaming', 'reconnecting', 'stopping'];

export class Meter {
  #began = 0;
  #ended = 0;
  #first = 0;
  #last = 0;
  #content = 0;
  #tokens = 0;
  #ticks = new Map();
  #gaps = [];

  state = 'idle';
  events = 0;

  constructor() {
    this.tape = byId('tape');
    this.tick = () => {
      this.draw();
      if (LIVE.includes(this.state)) requestAnimationFrame(this.tick);
    };
    new ResizeObserver(() => this.draw()).observe(this.tape);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
  }

  start() {
    this.#began = performance.now();
    this.#ended = this.#first = this.#last = this.#content = this.#tokens = this.events = 0;
    this.#ticks = new Map();
    this.#gaps = [];
    this.set('connecting');
    requestAnimationFrame(this.tick);
  }

  /** Milliseconds since the run began. */
  get elapsed() {
    return this.#began ? (this.#ended || performance.now()) - this.#began : 0;
  }

  set(state) {
    this.state = state;
    byId('state').textContent = STATES[state];
    document.documentElement.dataset.state = state;
    if (!LIVE.includes(state) && !this.#ended) this.#ended = performance.now();
    this.draw();
  }

  event({ type, data }) {
    const content = type === 'delta' || type === 'label';
    const now = this.elapsed;
    this.events += 1;
    const kind = content ? (data.part === 'thought' ? 'thought' : 'content') : type === 'wait' ? 'wait' : 'mark';
    this.#mark(kind, now);
    this.resumed();
    if (!content) return;
    this.#content += 1;
    this.#last = now;
    if (!this.#first) this.#first = now;
  }

  /** Ticks are counted by kind and hundredth of a second, so that drawing does not grow with the events. */
  #mark(kind, at) {
    if (!this.#ticks.has(kind)) this.#ticks.set(kind, new Map());
    const counts = this.#ticks.get(kind);
    const moment = Math.floor(at / 10) * 10;
    counts.set(moment, (counts.get(moment) ?? 0) + 1);
  }

  lost() {
    if (!this.#gaps.length || this.#gaps.at(-1).to) this.#gaps.push({ from: this.elapsed, to: 0 });
  }

  resumed() {
    const gap = this.#gaps.at(-1);
    if (gap && !gap.to) gap.to = this.elapsed;
  }

  /** At the end the provider's own count replaces events per second. */
  finish({ output_tokens: out = 0, thought_tokens: thought = 0 } = {}) {
    const seen = this.#ticks.has('thought');
    // Too few events span too little time to divide by.
    this.#tokens = this.#content > 8 ? out - (seen ? 0 : thought) : 0;
    this.draw();
  }

  draw() {
    const span = this.#last - this.#first;
    const counted = this.#tokens || this.#content - 1;
    write('figure-first', this.#first ? seconds(this.#first) : '–');
    write('figure-speed', this.#content > 8 && span > 50 ? String(Math.round((counted / span) * 1000)) : '–');
    write('figure-speed-unit', this.#tokens ? 'tokens/s' : 'events/s');
    write('figure-events', String(this.events));
    write('figure-elapsed', this.#began ? seconds(this.elapsed) : '–');
    this.#drawTape();
  }

  #drawTape() {
    const { tape } = this;
    const scale = devicePixelRatio || 1;
    const width = tape.clientWidth;
    const height = tape.clientHeight;
    if (tape.width !== Math.round(width * scale)) tape.width = Math.round(width * scale);
    if (tape.height !== Math.round(height * scale)) tape.height = Math.round(height * scale);
    const paper = tape.getContext('2d');
    paper.setTransform(scale, 0, 0, scale, 0, 0);
    paper.clearRect(0, 0, width, height);
    const style = getComputedStyle(tape);
    const ink = (name) => style.getPropertyValue(`--tape-${name}`).trim();
    const across = Math.max(this.elapsed, 2000);
    const x = (at) => 2 + (at / across) * (width - 4);
    // A line per second; per ten when there are many.
    const every = across > 40_000 ? 10_000 : 1000;
    paper.fillStyle = ink('rule');
    for (let at = 0; at <= across; at += every) paper.fillRect(Math.round(x(at)), 0, 1, height);
    paper.fillStyle = ink('gap');
    for (const { from, to } of this.#gaps) paper.fillRect(x(from), 0, Math.max(2, x(to || this.elapsed) - x(from)), height);
    for (const [kind, counts] of this.#ticks) {
      paper.fillStyle = ink(kind);
      const whole = kind === 'mark' || kind === 'wait';
      for (const [column, count] of byColumn(counts, x)) {
        const tall = whole ? height : Math.min(height, height * 0.4 + 3 * Math.log2(count + 1));
        paper.fillRect(column, height - tall, 1.5, tall);
      }
    }
  }
}

function byColumn(counts, x) {
  const columns = new Map();
  for (const [at, count] of counts) {
    const column = Math.round(x(at) / 2) * 2;
    columns.set(column, (columns.get(column) ?? 0) + count);
  }
  return columns;
}

export function seconds(milliseconds) {
  return milliseconds < 100_000 ? (milliseconds / 1000).toFixed(2) : (milliseconds / 1000).toFixed(0);
}

function write(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
}
