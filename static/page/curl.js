/** The same request for a terminal. Pure. */

import { toQuery } from '../client/transports.js';

/**
 * @param {string} origin
 * @param {string} task
 * @param {object} request
 * @param {'json'|'post'|'follow'|'eventsource'|'websocket'} door
 * @param {boolean} keyed whether the server wants a key; it is never written out
 */
export function curl(origin, task, request, door, keyed = false) {
  const auth = keyed ? [`-H "Authorization: Bearer $STREAMAPI_KEY"`] : [];
  const post = (path, ...flags) => command([...flags, `${origin}${path}`, ...auth, `-H 'Content-Type: application/json'`, `-d ${quote(JSON.stringify(request))}`]);
  switch (door) {
    case 'json':
      return post(`/v1/${task}`, '-sS');
    case 'post':
      return post(`/v1/${task}/stream`, '-sSN');
    case 'follow':
      return [
        '# Ask; the answer is 202 with the address of the generation.',
        post(`/v1/${task}`, '-sSi', `-H 'Prefer: respond-async'`),
        '',
        '# Follow it, from any event on, as often as you like.',
        command(['-sSN', `"${origin}/v1/generations/$GENERATION/events?after=0"`, ...auth]),
      ].join('\n');
    case 'eventsource':
      return get(origin, task, request, auth);
    default:
      return [
        '# curl speaks no WebSocket everywhere; with the Python package "websockets":',
        `python -m websockets ${origin.replace(/^http/, 'ws')}/v1/${task}/ws`,
        '',
        '# then type',
        JSON.stringify({ type: 'start', ref: '1', request }),
      ].join('\n');
  }
}

function get(origin, task, request, auth) {
  try {
    const fields = [...new URLSearchParams(toQuery(request))].map(([name, value]) => `--data-urlencode ${quote(`${name}=${value}`)}`);
    return command(['-sSN', '-G', `${origin}/v1/${task}/stream`, ...auth, ...fields]);
  } catch (error) {
    return `# ${error.detail}`;
  }
}

function command(parts) {
  return ['curl', ...parts].join(' \\\n  ').replace(/^curl \\\n {2}/, 'curl ');
}

function quote(text) {
  return `'${text.replace(/'/g, `'\\''`)}'`;
}
