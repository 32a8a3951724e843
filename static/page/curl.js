/** A request of the page as a command for the terminal. No DOM, no I/O. */

import { toQuery } from '../client/query.js';

/**
 * @param {string} origin
 * @param {string} task
 * @param {object} request
 * @param {'json'|'post'|'follow'|'eventsource'|'websocket'} transport
 * @param {boolean} needsKey whether the request needs a key. The command names an environment
 *   variable, never the key itself.
 */
export function curl(origin, task, request, transport, needsKey = false) {
  const auth = needsKey ? [`-H "Authorization: Bearer $STREAMAPI_KEY"`] : [];
  const post = (path, ...flags) => command([...flags, `${origin}${path}`, ...auth, `-H 'Content-Type: application/json'`, `-d ${quote(JSON.stringify(request))}`]);
  switch (transport) {
    case 'json':
      return post(`/v1/${task}`, '-sS');
    case 'post':
      return post(`/v1/${task}/stream`, '-sSN');
    case 'follow':
      return [
        '# Start a generation. The response is 202 and names the generation in its Location header.',
        post(`/v1/${task}`, '-sSi', `-H 'Prefer: respond-async'`),
        '',
        '# Read its events after any position, as often as you like.',
        command(['-sSN', `"${origin}/v1/generations/$GENERATION/events?after=0"`, ...auth]),
      ].join('\n');
    case 'eventsource':
      return get(origin, task, request, auth);
    default:
      return [
        '# Not every curl supports WebSocket. The Python package "websockets" does:',
        `python -m websockets ${origin.replace(/^http/, 'ws')}/v1/${task}/ws`,
        '',
        '# Then type:',
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
