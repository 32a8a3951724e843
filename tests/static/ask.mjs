// Asks for a text by one transport of the client, and prints each event as a line of JSON.
// node --experimental-websocket --experimental-eventsource ask.mjs URL TRANSPORT PROMPT
import { StreamAPI } from '../../static/streamapi.js';

const [, , baseUrl, door, prompt] = process.argv;
const say = (...line) => process.stdout.write(`${JSON.stringify(line)}\n`);

try {
  const stream = new StreamAPI({ baseUrl }).stream('text', { prompt }, { door, maxAttempts: 40 });
  for await (const event of stream) say(event.type, event.n, event.data);
} catch (error) {
  say('error', 0, `${error.name}: ${error.message}`);
}
process.exitCode = 0;
setTimeout(() => process.exit(0), 200);
