/** An error as a card: what happened, what to do, and a button to retry if that can help. */

import { ApiError, ConnectionLost } from '../client/errors.js';
import { el, withCode } from './dom.js';

/** What the user of this page can do, by error code. */
const ADVICE = {
  unauthenticated: 'Enter a key in the field above the request, then run the request again.',
  'unauthenticated with a key': 'This server does not know the key in the field above the request, or the key was revoked. Check the key.',
  key_expired: 'Enter a key that has not expired.',
  invalid_request: 'Correct the marked fields, then run the request again.',
  model_not_found: 'Choose another model under Options, or leave the model at its default.',
  context_too_long: 'Shorten the text, or choose a model with a larger context.',
  content_blocked: 'Rephrase the request.',
  host_not_allowed: 'Open this page under a host name that the server accepts, such as localhost.',
  malformed_request: 'Open this page without a query string.',
  too_large: 'Shorten the request.',
  uri_too_long: 'Choose a transport that uses POST, or WebSocket.',
  rate_limited: 'Wait a moment, then try again.',
  quota_exceeded: 'Your key has used all its tokens for today. Try again later.',
  too_many_streams: 'Wait until one of your other streams has ended.',
  upstream_unavailable: 'Try again in a moment. Problems at the provider are usually short.',
  upstream_timeout: 'Try again, or request a shorter answer.',
  upstream_interrupted: 'The text above is incomplete. Trying again starts a new answer.',
  upstream_truncated: 'The text above may be incomplete. Trying again starts a new answer.',
  upstream_rejected: 'If this error persists, ask the operator of this server to look at its log.',
  model_output_invalid: 'Try again. The next answer is usually valid.',
  generation_expired: 'Run the request again.',
  overloaded: 'Wait a moment, then try again.',
  shutting_down: 'Wait a moment, then try again.',
};
const NETWORK_ADVICE = 'Check that the server runs and that this device is online.';

/**
 * @param {Error} error
 * @param {object} options
 * @param {object[]} [options.unplaced] field errors that no field of the form shows
 * @param {boolean} [options.keySent] whether the request carried a key
 * @param {() => void} options.retry
 */
export function errorCard(error, { unplaced = [], keySent = false, retry }) {
  const api = error instanceof ApiError ? error : null;
  const detail = api ? api.detail : error.message;
  const lost = error instanceof ConnectionLost;
  const advice = api ? (keySent && ADVICE[`${api.code} with a key`]) || ADVICE[api.code] : lost ? NETWORK_ADVICE : '';
  const reference = api ? [api.status || null, api.code, api.requestId && `request ${api.requestId}`].filter(Boolean).join(' · ') : '';
  const list = unplaced.filter((one) => !detail.toLowerCase().includes(one.detail.toLowerCase())).map(({ detail, pointer }) => el('li', {}, ...withCode(pointer ? `${pointer}: ${detail}` : detail)));
  return el('div', { class: 'error-card', role: 'alert', 'data-code': api?.code ?? (lost ? 'connection_lost' : '') },
    el('h3', { textContent: api?.title || (lost ? 'No connection to the server' : 'The request failed') }),
    detail ? el('p', {}, ...withCode(detail)) : null,
    list.length ? el('ul', {}, ...list) : null,
    advice && advice !== detail ? el('p', { class: 'advice', textContent: advice }) : null,
    reference ? el('p', { class: 'small', textContent: reference }) : null,
    !api || api.retryable ? retryButton(api?.retryAfter ?? 0, retry) : null,
  );
}

/** A button that is disabled for `wait` seconds and shows the countdown. */
function retryButton(wait, retry) {
  const button = el('button', { type: 'button', id: 'retry', textContent: 'Try again' });
  button.addEventListener('click', retry);
  let left = Math.ceil(wait);
  const count = () => {
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : 'Try again';
    left -= 1;
    // The countdown ends when the card is removed.
    if (left >= 0) setTimeout(() => button.isConnected && count(), 1000);
  };
  count();
  return button;
}
