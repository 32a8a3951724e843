/**
 * The metrics of a run: state, time to the first token, speed, number of events. The
 * chart shows each event as a tick at the moment when it arrived.
 */

import { byId } from './dom.js';

const STATES = {
  idle: 'Ready', connecting: 'Connecting', open: 'Waiting', streaming: 'Streaming', reconnecting: 'Reconnecting',
  stopping: 'Stopping', done: 'Done', failed: 'Failed', cancelled: 'Stopped',
};
const RUNNING = ['connecting', 'open', 'streaming', 'reconnecting', 'stopping'];

export class RunMetrics {
  #startedAt = 0;
  #endedAt = 0;
  #firstContent = 0;
  #lastContent = 0;
  #contentEvents = 0;
  #tokens = 0;
  /** For each kind of event: how many arrived in each hundredth of a second. */
  #ticks = new Map();
  /** The times without a connection. */
  #gaps = [];

  state = 'idle';
  events = 0;

  constructor() {
    this.chart = byId('event-chart');
    this.tick = () => {
      this.draw();
      if (RUNNING.includes(this.state)) requestAnimationFrame(this.tick);
    };
    new ResizeObserver(() => this.draw()).observe(this.chart);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
  }

  start() {
    this.#startedAt = performance.now();
    this.#endedAt = this.#firstContent = this.#lastContent = this.#contentEvents = this.#tokens = this.events = 0;
    this.#ticks = new Map();
    this.#gaps = [];
    this.setState('connecting');
    requestAnimationFrame(this.tick);
  }

  /** Milliseconds since the run started. */
  get elapsed() {
    return this.#startedAt ? (this.#endedAt || performance.now()) - this.#startedAt : 0;
  }

  setState(state) {
    this.state = state;
    byId('state').textContent = STATES[state];
    document.documentElement.dataset.state = state;
    if (!RUNNING.includes(state) && !this.#endedAt) this.#endedAt = performance.now();
    this.draw();
  }

  event({ type, data }) {
    const content = type === 'delta' || type === 'label';
    const now = this.elapsed;
    this.events += 1;
    const kind = content ? (data.part === 'thought' ? 'thought' : 'content') : type === 'wait' ? 'wait' : 'other';
    this.#addTick(kind, now);
    this.reconnected();
    if (!content) return;
    this.#contentEvents += 1;
    this.#lastContent = now;
    if (!this.#firstContent) this.#firstContent = now;
  }

  /** Ticks are counted by hundredth of a second, so that the cost of drawing does not grow with the events. */
  #addTick(kind, at) {
    if (!this.#ticks.has(kind)) this.#ticks.set(kind, new Map());
    const counts = this.#ticks.get(kind);
    const moment = Math.floor(at / 10) * 10;
    counts.set(moment, (counts.get(moment) ?? 0) + 1);
  }

  disconnected() {
    if (!this.#gaps.length || this.#gaps.at(-1).to) this.#gaps.push({ from: this.elapsed, to: 0 });
  }

  reconnected() {
    const gap = this.#gaps.at(-1);
    if (gap && !gap.to) gap.to = this.elapsed;
  }

  /** At the end, tokens per second replace events per second: the usage says how many tokens there were. */
  finish({ output_tokens: out = 0, thought_tokens: thought = 0 } = {}) {
    const thoughtsStreamed = this.#ticks.has('thought');
    // A speed from a few events would be mostly noise.
    this.#tokens = this.#contentEvents > 8 ? out - (thoughtsStreamed ? 0 : thought) : 0;
    this.draw();
  }

  draw() {
    const span = this.#lastContent - this.#firstContent;
    const counted = this.#tokens || this.#contentEvents - 1;
    write('metric-first-token', this.#firstContent ? seconds(this.#firstContent) : '–');
    write('metric-speed', this.#contentEvents > 8 && span > 50 ? String(Math.round((counted / span) * 1000)) : '–');
    write('metric-speed-unit', this.#tokens ? 'tokens/s' : 'events/s');
    write('metric-events', String(this.events));
    write('metric-elapsed', this.#startedAt ? seconds(this.elapsed) : '–');
    this.#drawChart();
  }

  #drawChart() {
    const { chart } = this;
    const scale = devicePixelRatio || 1;
    const width = chart.clientWidth;
    const height = chart.clientHeight;
    if (chart.width !== Math.round(width * scale)) chart.width = Math.round(width * scale);
    if (chart.height !== Math.round(height * scale)) chart.height = Math.round(height * scale);
    const context = chart.getContext('2d');
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(chart);
    const colour = (name) => style.getPropertyValue(`--chart-${name}`).trim();
    const duration = Math.max(this.elapsed, 2000);
    const x = (at) => 2 + (at / duration) * (width - 4);
    // One line for each second; for long runs, one for every ten.
    const every = duration > 40_000 ? 10_000 : 1000;
    context.fillStyle = colour('grid');
    for (let at = 0; at <= duration; at += every) context.fillRect(Math.round(x(at)), 0, 1, height);
    context.fillStyle = colour('gap');
    for (const { from, to } of this.#gaps) context.fillRect(x(from), 0, Math.max(2, x(to || this.elapsed) - x(from)), height);
    for (const [kind, counts] of this.#ticks) {
      context.fillStyle = colour(kind);
      const fullHeight = kind === 'other' || kind === 'wait';
      for (const [column, count] of byColumn(counts, x)) {
        const tickHeight = fullHeight ? height : Math.min(height, height * 0.4 + 3 * Math.log2(count + 1));
        context.fillRect(column, height - tickHeight, 1.5, tickHeight);
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

/** A duration in seconds, with a precision that fits its length. */
export function seconds(milliseconds) {
  return milliseconds < 100_000 ? (milliseconds / 1000).toFixed(2) : (milliseconds / 1000).toFixed(0);
}

function write(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
}
