// Asks for a text by each transport of the client, and prints each event as a line of JSON.
// node --experimental-websocket --experimental-eventsource ask.mjs URL PROMPT
import { StreamAPI } from '../../static/client/streamapi.js';

const [, , baseUrl, prompt] = process.argv;
const say = (...line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function ask(door) {
  try {
    const stream = new StreamAPI({ baseUrl }).stream('text', { prompt: `${prompt} ${door}` }, { door, maxAttempts: 40 });
    for await (const event of stream) say(door, event.type, event.n, event.data);
  } catch (error) {
    say(door, 'error', 0, `${error.name}: ${error.message}`);
  }
}

await Promise.all(['post', 'follow', 'eventsource', 'websocket'].map(ask));
setTimeout(() => process.exit(0), 200);
