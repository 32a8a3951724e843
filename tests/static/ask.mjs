// Requests a text over each transport of the client and prints each event as a line of JSON.
// node --experimental-websocket --experimental-eventsource ask.mjs URL PROMPT
import { StreamAPI } from '../../static/client/streamapi.js';

const [, , baseUrl, prompt] = process.argv;
const print = (...line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function request(transport) {
  try {
    const stream = new StreamAPI({ baseUrl }).stream('text', { prompt: `${prompt} ${transport}` }, { transport, maxAttempts: 40 });
    for await (const event of stream) print(transport, event.type, event.n, event.data);
  } catch (error) {
    print(transport, 'error', 0, `${error.name}: ${error.message}`);
  }
}

await Promise.all(['post', 'follow', 'eventsource', 'websocket'].map(request));
setTimeout(() => process.exit(0), 200);
