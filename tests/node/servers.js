// Starts every server on a port of its own, prints the ports as one line of JSON, and serves until killed.
//   servers.js FRONT    where callers reach this host's agent, such as http://127.0.0.1:7480/beta
import * as a2a from './servers/a2a.js';
import * as acp from './servers/acp.js';
import * as anp from './servers/anp.js';
import * as mcp from './servers/mcp.js';
import * as openai from './servers/openai.js';
import * as ws from './servers/ws.js';

const front = process.argv[2];
const ports = { node: process.version };
for (const [name, { start }] of Object.entries({ a2a, acp, anp, mcp, openai, ws })) {
  const server = start(`${front}/${name}`);
  ports[name] = await new Promise((resolve) => {
    const listening = server.listen(0, '127.0.0.1', () => resolve(listening.address().port));
  });
}
console.log(JSON.stringify(ports));
