/** A request as the query string of a GET. */

import { ApiError } from './errors.js';

/**
 * Lists become repeated parameters.
 * @param {object} request
 * @param {?string} idempotencyKey
 * @returns {string}
 * @throws {ApiError} a value is an object, which a query parameter cannot carry
 */
export function toQuery(request, idempotencyKey = null) {
  const query = new URLSearchParams();
  const nested = [];
  for (const [name, value] of Object.entries(request)) {
    const items = Array.isArray(value) ? value : [value];
    if (items.some((item) => item !== null && typeof item === 'object')) nested.push(name);
    else for (const item of items) if (item !== null && item !== undefined) query.append(name, String(item));
  }
  if (nested.length) {
    throw new ApiError({
      title: 'A GET cannot carry this request',
      detail: 'Query parameters carry plain values and lists only. Use another transport for this request.',
      code: 'invalid_request',
      errors: nested.map((name) => ({ pointer: `/${name}`, detail: 'A GET cannot carry nested values.' })),
    }, 422);
  }
  if (idempotencyKey) query.set('idempotency_key', idempotencyKey);
  return query.toString();
}
