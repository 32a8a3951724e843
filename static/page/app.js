/** The demo page: the parts put together, and one run at a time. */

import { byId, copyButton, el, nextFrame } from './dom.js';
import { curl } from './curl.js';
import { Form } from './form.js';
import { Meter } from './metrics.js';
import { RawEvents, Timeline, showFacts } from './run-details.js';
import { ResultView } from './result.js';
import { formOf, tasksOf } from './schema.js';
import { ApiError, StreamAPI } from '../client/streamapi.js';
import { troubleCard } from './error-card.js';

const DOORS = {
  json: ['JSON', (task) => `POST /v1/${task} → one answer`],
  post: ['SSE by POST', (task) => `POST /v1/${task}/stream → events, read with fetch`],
  eventsource: ['SSE by GET', (task) => `GET /v1/${task}/stream?… → events, read by EventSource`],
  follow: ['POST, then follow', (task) => `POST /v1/${task} → 202, then GET …/events`],
  websocket: ['WebSocket', (task) => `WS /v1/${task}/ws → frames of JSON`],
};
const FAULTS = ['slow', '503', '429_delay', 'error_before_text', 'error_after_text', 'no_finish', 'reset_after_text', 'hang_after_text', 'safety', 'max_tokens', 'thoughts', 'hostile'];

const api = new StreamAPI();
const form = new Form(byId('fields'), byId('options'));
const view = new ResultView(byId('result'));
const meter = new Meter();
const timeline = new Timeline();
const raw = new RawEvents();

let doc = {};
let models = [];
let emulated = false;
let run = null;

const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;

async function load() {
  byId('start-trouble').replaceChildren();
  try {
    // Together, so that the page is laid out once.
    [doc, models] = await Promise.all([api.request('/openapi.json').then((response) => response.json()), catalogue(), banner()]);
    if (!tasksOf(doc).length) throw new Error('The server lists no tasks.');
  } catch (error) {
    byId('start-trouble').replaceChildren(troubleCard(error, { again: load }));
    return;
  }
  radios('tasks', 'task', tasksOf(doc).map(({ name, title }) => [name, title ?? name]), choose);
  radios('doors', 'door', Object.entries(DOORS).map(([name, [title]]) => [name, title]), route, 'post');
  choose();
  byId('run').disabled = false;
}

function catalogue() {
  return api.request('/v1/models').then((response) => response.json()).then(({ data }) => data.map(({ id }) => id)).catch(() => []);
}

async function banner() {
  const state = await api.request('/readyz').then((response) => response.json()).catch(() => ({}));
  emulated = state.upstream === 'emulator';
  byId('emulator').hidden = byId('fault-row').hidden = !emulated;
}

function radios(host, name, entries, changed, first = entries[0]?.[0]) {
  const kept = chosen(name) ?? first;
  byId(host).replaceChildren(...entries.map(([value, title]) => {
    const input = el('input', { type: 'radio', name, value, id: `${name}-${value}`, checked: value === kept });
    input.addEventListener('change', changed);
    return el('label', { class: 'choice' }, input, el('span', { textContent: title, 'data-title': title }));
  }));
}

function choose() {
  const task = tasksOf(doc).find(({ name }) => name === chosen('task'));
  if (!task) return;
  byId('task-description').textContent = task.description ?? '';
  form.show(formOf(doc, task.name), models);
  route();
}

function route() {
  byId('route').textContent = DOORS[chosen('door')][1](chosen('task'));
  byId('drop').title = chosen('door') === 'json' ? 'A JSON answer has no stream to drop' : '';
  showCurl();
}

function showCurl() {
  if (byId('curl').closest('details').open) byId('curl').textContent = curl(location.origin, chosen('task'), request(), chosen('door'), Boolean(api.key));
}

function request() {
  const fault = emulated && byId('fault').value;
  if (!fault) return form.read();
  const asked = form.read(fault === 'slow' ? ' [[pace:0.15]]' : ` [[fault:${fault}]]`);
  // Thoughts that were not asked for are not passed on.
  return fault === 'thoughts' ? { ...asked, include_thoughts: true } : asked;
}

async function start() {
  if (run || byId('run').disabled) return;
  const asked = { task: chosen('task'), door: chosen('door'), request: request() };
  run = { leave: new AbortController(), stream: null };
  form.clearErrors();
  view.clear(asked.request);
  timeline.clear();
  raw.clear();
  showFacts();
  meter.start();
  showCurl();
  buttons();
  timeline.add(0, `Asked: ${DOORS[asked.door][1](asked.task)}`);
  if (matchMedia('(max-width: 899px)').matches) byId('output').scrollIntoView();
  try {
    await (asked.door === 'json' ? answer(asked) : follow(asked));
  } catch (error) {
    trouble(error);
  } finally {
    run = null;
    buttons();
  }
}

async function answer({ task, request }) {
  const body = await api.answer(task, request, { signal: run.leave.signal });
  raw.add(JSON.stringify(body, null, 2));
  ended({ type: 'done', data: body });
}

async function follow({ task, request, door }) {
  run.stream = api.stream(task, request, { door, signal: run.leave.signal, onState: connection, onRaw: (text) => raw.add(text) });
  for await (const event of run.stream) happened(event);
}

function happened(event) {
  const { type, data } = event;
  meter.event(event);
  if (type === 'delta' || type === 'label') {
    if (['connecting', 'open', 'reconnecting'].includes(meter.state)) {
      if (!run.content) timeline.add(meter.elapsed, type === 'label' ? 'First label' : data.part === 'thought' ? 'First thought' : 'First token', 'good');
      run.content = true;
      meter.set('streaming');
    }
    if (type === 'delta') view.text(data.part, data.text);
    else view.label(data.label, data.score);
  } else if (type === 'start') {
    timeline.add(meter.elapsed, `Started ${data.generation}`);
  } else if (type === 'wait') {
    timeline.add(meter.elapsed, waiting(data), 'lost');
  } else {
    ended(event);
  }
}

function waiting({ reason, attempt, delay, model }) {
  const what = { queued: 'Queued', retry: 'The provider failed; trying again', fallback: `Falling back to ${model}` }[reason] ?? reason;
  return `${what}${attempt ? ` (attempt ${attempt})` : ''}${delay >= 0.05 ? `, in ${Number(delay).toFixed(1)} s` : ''}`;
}

function ended({ type, data }) {
  if (type === 'failed') {
    showFacts({ usage: data.usage, id: run.stream?.generation });
    return trouble(new ApiError(data.problem));
  }
  meter.set(type);
  meter.finish(data.usage ?? {});
  if (type === 'cancelled') {
    showFacts({ usage: data.usage, id: run.stream?.generation, finish_reason: `stopped by ${data.by}` });
    timeline.add(meter.elapsed, `Stopped by ${data.by}`);
    return view.flush();
  }
  view.finish(data.result ?? {});
  showFacts(data);
  timeline.add(meter.elapsed, `Done: ${data.usage?.output_tokens ?? 0} tokens in ${(meter.elapsed / 1000).toFixed(1)} seconds`, 'good');
}

function connection({ state, after, delay, reason }) {
  if (state === 'reconnecting') {
    meter.set('reconnecting');
    meter.lost();
    run.lost = true;
    timeline.add(meter.elapsed, `${reason} Reconnecting${delay ? ` in ${(delay / 1000).toFixed(1)} s` : ''}…`, 'lost');
  } else if (state === 'open') {
    if (run.lost) {
      timeline.add(meter.elapsed, after ? `Resumed at event ${after}` : 'Connected again', 'good');
      meter.resumed();
    }
    run.lost = false;
    if (meter.state !== 'stopping') meter.set(run.content ? 'streaming' : 'open');
  }
}

function trouble(error) {
  if (error === run.left) {
    meter.set('cancelled');
    return timeline.add(meter.elapsed, 'Left; the server lets go by itself');
  }
  meter.set('failed');
  if (error instanceof ApiError && error.status === 401) byId('key-row').hidden = false;
  const homeless = error instanceof ApiError ? form.complain(error.errors) : [];
  view.append(troubleCard(error, { homeless, keyed: Boolean(api.key), again: start }));
  if (error instanceof ApiError && error.status === 401) byId('key').focus();
  timeline.add(meter.elapsed, `Failed: ${error.title || error.message}`, 'bad');
  if (!(error instanceof ApiError)) console.error(error);
}

async function stop() {
  if (!run || run.left) return;
  meter.set('stopping');
  if (run.stream && !run.stopped) {
    run.stopped = true;
    return run.stream.cancel().catch((error) => run && trouble(error));
  }
  run.left = new Error('left');
  run.leave.abort(run.left);
}

function buttons() {
  byId('run').disabled = Boolean(run);
  byId('stop').disabled = !run;
  byId('drop').disabled = !run || chosen('door') === 'json';
  document.documentElement.dataset.running = String(Boolean(run));
}

byId('fault').append(...FAULTS.map((name) => el('option', { value: name, textContent: name.replace(/_/g, ' ') })));
byId('form').addEventListener('submit', (event) => (event.preventDefault(), start()));
byId('form').addEventListener('input', () => nextFrame(showCurl));
byId('curl-tools').append(copyButton(() => byId('curl').textContent));
byId('curl').closest('details').addEventListener('toggle', showCurl);
// By `click`, not `toggle`: an option that is wrong opens them too, and is then what is shown.
document.querySelector('.options summary').addEventListener('click', ({ currentTarget: summary }) => nextFrame(() => summary.parentNode.open && summary.scrollIntoView()));
byId('key').addEventListener('input', () => (api.key = byId('key').value.trim() || null));
byId('stop').addEventListener('click', stop);
byId('drop').addEventListener('click', () => run?.stream?.drop());
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) start();
  if (event.key === 'Escape') stop();
});
if (/Mac|iPhone|iPad/.test(navigator.platform)) byId('run-key').textContent = '⌘ ↵';
showFacts();
load();
