/** The playground: loads the tasks of the server, builds the form, and runs one request at a time. */

import { StreamAPI } from '../client/streamapi.js';
import { curl } from './curl.js';
import { byId, copyButton, el, nextFrame } from './dom.js';
import { errorCard } from './error-card.js';
import { Form } from './form.js';
import { RunMetrics } from './metrics.js';
import { ResultView } from './result.js';
import { RawEvents, Timeline, showSummary } from './run-details.js';
import { Run } from './run.js';
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
const views = { api, form, result: new ResultView(byId('result')), metrics: new RunMetrics(), timeline: new Timeline(), rawEvents: new RawEvents() };

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
  const transport = selected('transport');
  const endpoint = TRANSPORTS[transport][1](selected('task'));
  run = new Run(views, { task: selected('task'), transport, endpoint, request: readRequest(), retry: start });
  showCurl();
  updateButtons();
  const finished = run.start();
  if (matchMedia('(max-width: 899px)').matches) byId('output').scrollIntoView();
  await finished;
  run = null;
  updateButtons();
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
byId('stop').addEventListener('click', () => run?.stop());
byId('drop').addEventListener('click', () => run?.drop());
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) start();
  if (event.key === 'Escape') run?.stop();
});
if (/Mac|iPhone|iPad/.test(navigator.platform)) byId('run-key').textContent = '⌘ ↵';
showSummary();
load();
