/** The playground: loads the tasks of the server, and runs one request at a time. */

import { ApiError, StreamAPI } from '../client/streamapi.js';
import { curl } from './curl.js';
import { byId, copyButton, el, nextFrame } from './dom.js';
import { errorCard } from './error-card.js';
import { Form } from './form.js';
import { RunMetrics, seconds } from './metrics.js';
import { ResultView } from './result.js';
import { RawEvents, Timeline, showSummary } from './run-details.js';
import { formOf, tasksOf } from './schema.js';

/** Each transport with its label and, for a task, its endpoint. 'json' is not a stream. */
const TRANSPORTS = {
  json: ['JSON', (task) => `POST /v1/${task} → one answer`],
  post: ['SSE by POST', (task) => `POST /v1/${task}/stream → events, read with fetch`],
  eventsource: ['SSE by GET', (task) => `GET /v1/${task}/stream?… → events, read by EventSource`],
  follow: ['POST, then follow', (task) => `POST /v1/${task} → 202, then GET …/events`],
  websocket: ['WebSocket', (task) => `WS /v1/${task}/ws → JSON messages`],
};
/** Faults of the emulator, and how the page names them. */
const FAULTS = [
  ['slow', 'Slow answer'],
  ['503', 'Provider unavailable (503)'],
  ['429_delay', 'Provider rate limit (429)'],
  ['error_before_text', 'Error before the first text'],
  ['error_after_text', 'Error after some text'],
  ['no_finish', 'Answer cut off without an end'],
  ['reset_after_text', 'Connection reset after some text'],
  ['hang_after_text', 'Silence after some text'],
  ['safety', 'Blocked by the safety filter'],
  ['max_tokens', 'Token limit reached'],
  ['thoughts', 'Thoughts before the answer'],
  ['hostile', 'Answer that contains HTML and scripts'],
];

const api = new StreamAPI();
const form = new Form(byId('fields'), byId('options'));
const result = new ResultView(byId('result'));
const metrics = new RunMetrics();
const timeline = new Timeline();
const rawEvents = new RawEvents();

let openapi = {};
let models = [];
let emulated = false;
/** The current run, or null. */
let run = null;

const selected = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;

async function load() {
  byId('load-error').replaceChildren();
  try {
    // All three before the first drawing, so that the page does not shift.
    [openapi, models] = await Promise.all([api.request('/openapi.json').then((response) => response.json()), loadModels(), checkForEmulator()]);
    if (!tasksOf(openapi).length) throw new Error('The server offers no tasks.');
  } catch (error) {
    byId('load-error').replaceChildren(errorCard(error, { retry: load }));
    return;
  }
  showRadios('tasks', 'task', tasksOf(openapi).map(({ name, title }) => [name, title ?? name]), showTask);
  showRadios('transports', 'transport', Object.entries(TRANSPORTS).map(([name, [title]]) => [name, title]), showEndpoint, 'post');
  showTask();
  byId('run').disabled = false;
}

function loadModels() {
  return api.request('/v1/models').then((response) => response.json()).then(({ data }) => data.map(({ id }) => id)).catch(() => []);
}

async function checkForEmulator() {
  const state = await api.request('/readyz').then((response) => response.json()).catch(() => ({}));
  emulated = state.upstream === 'emulator';
  byId('emulator').hidden = byId('fault-row').hidden = !emulated;
}

function showRadios(host, name, entries, onChange, preset = entries[0]?.[0]) {
  const checked = selected(name) ?? preset;
  byId(host).replaceChildren(...entries.map(([value, title]) => {
    const input = el('input', { type: 'radio', name, value, id: `${name}-${value}`, checked: value === checked });
    input.addEventListener('change', onChange);
    return el('label', { class: 'choice' }, input, el('span', { textContent: title, 'data-title': title }));
  }));
}

function showTask() {
  const task = tasksOf(openapi).find(({ name }) => name === selected('task'));
  if (!task) return;
  byId('task-description').textContent = task.description ?? '';
  form.show(formOf(openapi, task.name), models);
  showEndpoint();
}

function showEndpoint() {
  byId('endpoint').textContent = TRANSPORTS[selected('transport')][1](selected('task'));
  byId('drop').title = selected('transport') === 'json' ? 'A JSON answer is not a stream and cannot resume.' : 'Closes the connection; the stream then resumes.';
  showCurl();
}

function showCurl() {
  if (byId('curl-panel').open) byId('curl').textContent = curl(location.origin, selected('task'), readRequest(), selected('transport'), Boolean(api.key));
}

function readRequest() {
  const fault = emulated && byId('fault').value;
  if (!fault) return form.read();
  const request = form.read(fault === 'slow' ? ' [[pace:0.15]]' : ` [[fault:${fault}]]`);
  // The server removes thoughts unless the request includes them.
  return fault === 'thoughts' ? { ...request, include_thoughts: true } : request;
}

async function start() {
  if (run || byId('run').disabled) return;
  const task = selected('task');
  const transport = selected('transport');
  const request = readRequest();
  run = { abort: new AbortController(), stream: null, hasContent: false, disconnected: false, cancelled: false, left: null };
  form.clearErrors();
  result.clear(request);
  timeline.clear();
  rawEvents.clear();
  showSummary();
  metrics.start();
  showCurl();
  updateButtons();
  timeline.add(0, `Request sent: ${TRANSPORTS[transport][1](task)}`);
  if (matchMedia('(max-width: 899px)').matches) byId('output').scrollIntoView();
  try {
    await (transport === 'json' ? runJson(task, request) : runStream(task, request, transport));
  } catch (error) {
    handleError(error);
  } finally {
    run = null;
    updateButtons();
  }
}

async function runJson(task, request) {
  const answer = await api.answer(task, request, { signal: run.abort.signal });
  rawEvents.add(JSON.stringify(answer, null, 2));
  handleEnding({ type: 'done', data: answer });
}

async function runStream(task, request, transport) {
  run.stream = api.stream(task, request, { transport, signal: run.abort.signal, onState: handleConnection, onRaw: (text) => rawEvents.add(text) });
  for await (const event of run.stream) handleEvent(event);
}

function handleEvent(event) {
  const { type, data } = event;
  metrics.event(event);
  if (type === 'delta' || type === 'label') {
    if (['connecting', 'open', 'reconnecting'].includes(metrics.state)) {
      if (!run.hasContent) timeline.add(metrics.elapsed, type === 'label' ? 'First label' : data.part === 'thought' ? 'First thought' : 'First token', 'good');
      run.hasContent = true;
      metrics.setState('streaming');
    }
    if (type === 'delta') result.text(data.part, data.text);
    else result.label(data.label, data.score);
  } else if (type === 'start') {
    timeline.add(metrics.elapsed, `Generation ${data.generation} started`);
  } else if (type === 'wait') {
    timeline.add(metrics.elapsed, describeWait(data), 'warning');
  } else {
    handleEnding(event);
  }
}

function describeWait({ reason, attempt, delay, model }) {
  const what = { queued: 'Waiting in the queue', retry: 'The provider failed. Retrying', fallback: `The provider failed. Trying the model ${model}` }[reason] ?? reason;
  return `${what}${delay >= 0.05 ? ` in ${Number(delay).toFixed(1)} s` : ''}${attempt ? ` (attempt ${attempt})` : ''}`;
}

function handleEnding({ type, data }) {
  if (type === 'failed') {
    showSummary({ usage: data.usage, id: run.stream?.generation });
    return handleError(new ApiError(data.problem));
  }
  metrics.setState(type);
  metrics.finish(data.usage ?? {});
  if (type === 'cancelled') {
    showSummary({ usage: data.usage, id: run.stream?.generation, finish_reason: `stopped by ${data.by}` });
    timeline.add(metrics.elapsed, `Stopped by ${data.by}`);
    return result.flush();
  }
  result.finish(data.result ?? {});
  showSummary(data);
  timeline.add(metrics.elapsed, `Done: ${data.usage?.output_tokens ?? 0} tokens in ${seconds(metrics.elapsed)} s`, 'good');
}

function handleConnection({ state, after, delay, reason }) {
  if (state === 'reconnecting') {
    metrics.setState('reconnecting');
    metrics.disconnected();
    run.disconnected = true;
    timeline.add(metrics.elapsed, `${reason} Reconnecting${delay ? ` in ${(delay / 1000).toFixed(1)} s` : ''}…`, 'warning');
  } else if (state === 'open') {
    if (run.disconnected) {
      timeline.add(metrics.elapsed, after ? `Resumed after event ${after}` : 'Connected again', 'good');
      metrics.reconnected();
    }
    run.disconnected = false;
    if (metrics.state !== 'stopping') metrics.setState(run.hasContent ? 'streaming' : 'open');
  }
}

function handleError(error) {
  if (error === run.left) {
    metrics.setState('cancelled');
    return timeline.add(metrics.elapsed, 'This page closed the connection. The option on_disconnect decides whether the generation continues.');
  }
  metrics.setState('failed');
  const unauthenticated = error instanceof ApiError && error.status === 401;
  if (unauthenticated) byId('key-row').hidden = false;
  const unplaced = error instanceof ApiError ? form.showErrors(error.errors) : [];
  result.append(errorCard(error, { unplaced, keySent: Boolean(api.key), retry: start }));
  // After the card, which scrolls into view too.
  form.focusFirstError();
  if (unauthenticated) byId('key').focus();
  timeline.add(metrics.elapsed, `Failed: ${error.title || error.message}`, 'bad');
  if (!(error instanceof ApiError)) console.error(error);
}

/** The first call cancels the generation; a second one, or one for a JSON request, disconnects. */
async function stop() {
  if (!run || run.left) return;
  metrics.setState('stopping');
  if (run.stream && !run.cancelled) {
    run.cancelled = true;
    return run.stream.cancel().catch((error) => run && handleError(error));
  }
  run.left = new Error('left');
  run.abort.abort(run.left);
}

/** Scrolls to the options that the user opened. On a wide screen only the form scrolls, not the page. */
function showOptions() {
  const panel = byId('options-panel');
  const fields = byId('request-fields');
  if (!panel.open) return;
  if (fields.scrollHeight > fields.clientHeight) fields.scrollTop += panel.getBoundingClientRect().top - fields.getBoundingClientRect().top;
  else panel.scrollIntoView();
}

function updateButtons() {
  byId('run').disabled = Boolean(run);
  byId('stop').disabled = !run;
  byId('drop').disabled = !run || selected('transport') === 'json';
  document.documentElement.dataset.running = String(Boolean(run));
}

byId('fault').append(...FAULTS.map(([value, textContent]) => el('option', { value, textContent })));
byId('form').addEventListener('submit', (event) => (event.preventDefault(), start()));
byId('form').addEventListener('input', () => nextFrame(showCurl));
byId('curl-tools').append(copyButton(() => byId('curl').textContent));
byId('curl-panel').addEventListener('toggle', showCurl);
// `toggle` would also fire when an error opens the options, and would scroll away from the invalid field.
byId('options-panel').querySelector('summary').addEventListener('click', () => nextFrame(showOptions));
byId('key').addEventListener('input', () => (api.key = byId('key').value.trim() || null));
byId('stop').addEventListener('click', stop);
byId('drop').addEventListener('click', () => run?.stream?.drop());
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) start();
  if (event.key === 'Escape') stop();
});
if (/Mac|iPhone|iPad/.test(navigator.platform)) byId('run-key').textContent = '⌘ ↵';
showSummary();
load();
