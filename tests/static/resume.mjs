// Resumes a generation after a position over each transport of the client and prints the events.
// node --experimental-websocket --experimental-eventsource resume.mjs URL GENERATION AFTER
import { StreamAPI } from '../../static/client/streamapi.js';

const [, , baseUrl, generation, after] = process.argv;
const api = new StreamAPI({ baseUrl });

async function resume(transport) {
  const stream = api.stream('text', { prompt: 'x' }, { transport, maxAttempts: 3 });
  Object.assign(stream, { generation, after: Number(after) });
  const events = [];
  try {
    for await (const event of stream) events.push([event.type, event.n]);
    return [transport, events];
  } catch (error) {
    return [transport, `${error.name}: ${error.message} after ${JSON.stringify(events)}`];
  }
}

const results = await Promise.all(['post', 'follow', 'eventsource', 'websocket'].map(resume));
console.log(JSON.stringify(Object.fromEntries(results)));
process.exit(0);
