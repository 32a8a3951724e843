/** Errors, as a person would want them: what happened, what to do, and a way to do it. */

import { coded, el } from './dom.js';
import { ApiError } from '../client/errors.js';

/** What helps, by code. Where there is nothing to add, the server's own words stand alone. */
const ADVICE = {
  unauthenticated: 'Enter a key in the field above the request.',
  'unauthenticated with a key': 'This server does not know the key in the field above the request, or it was revoked. Check it.',
  key_expired: 'Enter a key that is still valid.',
  invalid_request: 'Mend the fields marked in the form and run again.',
  model_not_found: 'Choose another model under Options, or leave it at the default.',
  context_too_long: 'Shorten the text, or choose a model that takes more.',
  content_blocked: 'Rephrase the request.',
  host_not_allowed: 'Open this page under a name that the server answers to, such as localhost.',
  malformed_request: 'Reload this page, without anything that was added to its address.',
  too_large: 'Shorten the request.',
  uri_too_long: 'Take one of the POST doors.',
  rate_limited: 'Wait a moment, then try again.',
  quota_exceeded: 'The tokens of the day are used up: try again later.',
  too_many_streams: 'Let another stream end first.',
  upstream_unavailable: 'Try again shortly; the provider’s trouble usually passes.',
  upstream_timeout: 'Try again, or ask for less at once.',
  upstream_interrupted: 'What had arrived is kept above. Trying again starts anew.',
  upstream_truncated: 'What is above may be incomplete. Trying again starts anew.',
  upstream_rejected: 'If this persists, ask whoever runs this server to look at its log.',
  model_output_invalid: 'Trying again usually helps.',
  generation_expired: 'Run it again.',
  overloaded: 'Wait a moment, then try again.',
  shutting_down: 'Try again in a moment.',
};

/**
 * @param {Error} error
 * @param {{homeless?: object[], keyed?: boolean, again: () => void}} more `homeless`: field errors
 *   without a field; `keyed`: whether a key was sent
 */
export function troubleCard(error, { homeless = [], keyed = false, again }) {
  const api = error instanceof ApiError ? error : null;
  const detail = api ? api.detail : error.message;
  const advice = api ? (keyed && ADVICE[`${api.code} with a key`]) || ADVICE[api.code] : 'Check that the server is running and the network is there.';
  const facts = api ? [api.status || null, api.code, api.requestId && `request ${api.requestId}`].filter(Boolean).join(' · ') : '';
  const list = homeless.filter((one) => !detail.toLowerCase().includes(one.detail.toLowerCase())).map(({ detail, pointer }) => el('li', {}, ...coded(pointer ? `${pointer}: ${detail}` : detail)));
  return el('div', { class: 'trouble', role: 'alert', 'data-code': api?.code ?? 'connection_lost' },
    el('h3', { textContent: api?.title || (api ? 'The request failed' : 'Connection lost') }),
    detail ? el('p', {}, ...coded(detail)) : null,
    list.length ? el('ul', {}, ...list) : null,
    advice && advice !== detail ? el('p', { class: 'advice', textContent: advice }) : null,
    facts ? el('p', { class: 'small', textContent: facts }) : null,
    !api || api.retryable ? againButton(api?.retryAfter ?? 0, again) : null,
  );
}

function againButton(wait, again) {
  const button = el('button', { type: 'button', id: 'again', textContent: 'Try again' });
  button.addEventListener('click', again);
  let left = Math.ceil(wait);
  const count = () => {
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : 'Try again';
    left -= 1;
    // Gone from the page is gone for the clock.
    if (left >= 0) setTimeout(() => button.isConnected && count(), 1000);
  };
  count();
  return button;
}
