/** One run: it sends the request and shows the events, the state of the connection and the end. */

import { ApiError } from '../client/streamapi.js';
import { byId } from './dom.js';
import { errorCard } from './error-card.js';
import { seconds } from './metrics.js';
import { showSummary } from './run-details.js';

export class Run {
  #abort = new AbortController();
  #stream = null;
  #hasContent = false;
  #disconnected = false;
  #cancelRequested = false;
  #finished = false;
  /** The reason of `#abort`, or null while the page has not closed the connection. */
  #left = null;

  /**
   * @param {object} views the parts of the page: `api`, `form`, `result`, `metrics`, `timeline`, `rawEvents`
   * @param {object} options
   * @param {string} options.task
   * @param {'json'|'post'|'follow'|'eventsource'|'websocket'} options.transport
   * @param {string} options.endpoint the endpoint, for the timeline
   * @param {object} options.request
   * @param {() => void} options.retry starts another run
   */
  constructor(views, options) {
    Object.assign(this, views, options);
  }

  /** Runs the request to its end. Shows errors; never throws. */
  async start() {
    this.form.clearErrors();
    this.result.clear(this.request);
    this.timeline.clear();
    this.rawEvents.clear();
    showSummary();
    this.metrics.start();
    this.#log(`Request sent: ${this.endpoint}`);
    try {
      await (this.transport === 'json' ? this.#requestAnswer() : this.#readStream());
    } catch (error) {
      this.#showError(error);
    }
    this.#finished = true;
  }

  /** The first call cancels the generation. A second call, or one for a JSON request, disconnects. */
  async stop() {
    if (this.#left) return;
    this.metrics.setState('stopping');
    if (this.#stream && !this.#cancelRequested) {
      this.#cancelRequested = true;
      return this.#stream.cancel().catch((error) => this.#finished || this.#showError(error));
    }
    this.#left = new Error('The page closed the connection.');
    this.#abort.abort(this.#left);
  }

  /** Closes the connection of a stream, which then resumes. */
  drop() {
    this.#stream?.drop();
  }

  async #requestAnswer() {
    const answer = await this.api.answer(this.task, this.request, { signal: this.#abort.signal });
    this.rawEvents.add(JSON.stringify(answer, null, 2));
    this.#end({ type: 'done', data: answer });
  }

  async #readStream() {
    this.#stream = this.api.stream(this.task, this.request, {
      transport: this.transport,
      signal: this.#abort.signal,
      onState: (change) => this.#showConnection(change),
      onRaw: (text) => this.rawEvents.add(text),
    });
    for await (const event of this.#stream) this.#show(event);
  }

  #show(event) {
    const { type, data } = event;
    this.metrics.event(event);
    if (type === 'delta' || type === 'label') this.#showContent(type, data);
    else if (type === 'start') this.#log(`Generation ${data.generation} started`);
    else if (type === 'wait') this.#log(describeWait(data), 'warning');
    else this.#end(event);
  }

  #showContent(type, data) {
    if (['connecting', 'open', 'reconnecting'].includes(this.metrics.state)) {
      if (!this.#hasContent) this.#log(type === 'label' ? 'First label' : data.part === 'thought' ? 'First thought' : 'First token', 'good');
      this.#hasContent = true;
      this.metrics.setState('streaming');
    }
    if (type === 'delta') this.result.text(data.part, data.text);
    else this.result.label(data.label, data.score);
  }

  #end({ type, data }) {
    if (type === 'failed') {
      showSummary({ usage: data.usage, id: this.#stream?.generation });
      return this.#showError(new ApiError(data.problem));
    }
    this.metrics.setState(type);
    this.metrics.finish(data.usage ?? {});
    if (type === 'cancelled') {
      showSummary({ usage: data.usage, id: this.#stream?.generation, finish_reason: `stopped by ${data.by}` });
      this.#log(`Stopped by ${data.by}`);
      return this.result.flush();
    }
    this.result.finish(data.result ?? {});
    showSummary(data);
    this.#log(`Done: ${data.usage?.output_tokens ?? 0} tokens in ${seconds(this.metrics.elapsed)} s`, 'good');
  }

  #showConnection({ state, after, delay, reason }) {
    if (state === 'reconnecting') {
      this.metrics.setState('reconnecting');
      this.metrics.disconnected();
      this.#disconnected = true;
      this.#log(`${reason} Reconnecting${delay ? ` in ${(delay / 1000).toFixed(1)} s` : ''}…`, 'warning');
    } else if (state === 'open') {
      if (this.#disconnected) {
        this.#log(after ? `Resumed after event ${after}` : 'Connected again', 'good');
        this.metrics.reconnected();
      }
      this.#disconnected = false;
      if (this.metrics.state !== 'stopping') this.metrics.setState(this.#hasContent ? 'streaming' : 'open');
    }
  }

  #showError(error) {
    if (error === this.#left) {
      this.metrics.setState('cancelled');
      return this.#log('This page closed the connection. The option on_disconnect decides whether the generation continues.');
    }
    this.metrics.setState('failed');
    const unauthenticated = error instanceof ApiError && error.status === 401;
    if (unauthenticated) byId('key-row').hidden = false;
    const unplaced = error instanceof ApiError ? this.form.showErrors(error.errors) : [];
    this.result.append(errorCard(error, { unplaced, keySent: Boolean(this.api.key), retry: this.retry }));
    // After the card, which scrolls into view too.
    this.form.focusFirstError();
    if (unauthenticated) byId('key').focus();
    this.#log(`Failed: ${error.title || error.message}`, 'bad');
    if (!(error instanceof ApiError)) console.error(error);
  }

  #log(text, kind) {
    this.timeline.add(this.metrics.elapsed, text, kind);
  }
}

function describeWait({ reason, attempt, delay, model }) {
  const what = { queued: 'Waiting in the queue', retry: 'The provider failed. Retrying', fallback: `The provider failed. Trying the model ${model}` }[reason] ?? reason;
  return `${what}${delay >= 0.05 ? ` in ${Number(delay).toFixed(1)} s` : ''}${attempt ? ` (attempt ${attempt})` : ''}`;
}
