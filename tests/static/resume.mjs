// Resumes a generation behind a position by each transport of the client, and prints what came.
// node --experimental-websocket --experimental-eventsource resume.mjs URL GENERATION AFTER
import { StreamAPI } from '../../static/client/streamapi.js';

const [, , baseUrl, generation, after] = process.argv;
const api = new StreamAPI({ baseUrl });

async function resume(door) {
  const stream = api.stream('text', { prompt: 'x' }, { door, maxAttempts: 3 });
  Object.assign(stream, { generation, after: Number(after) });
  const seen = [];
  try {
    for await (const event of stream) seen.push([event.type, event.n]);
    return [door, seen];
  } catch (error) {
    return [door, `${error.name}: ${error.message} after ${JSON.stringify(seen)}`];
  }
}

const found = await Promise.all(['post', 'follow', 'eventsource', 'websocket'].map(resume));
console.log(JSON.stringify(Object.fromEntries(found)));
process.exit(0);
