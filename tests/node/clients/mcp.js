import { createHash } from 'node:crypto';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema, LoggingMessageNotificationSchema, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';

import { failureOf, open, pass } from './common.js';

const kMiB = 1 << 20;
const textOf = (result) => result.content[0].text;

// Its own stream of the session is heard as well: `heard.text` is what came over it, `heard.begins` resolves with its head.
function listener() {
  const heard = { text: '' };
  heard.begins = new Promise((resolve) => {
    heard.fetch = async (url, init) => {
      const response = await fetch(url, init);
      if (init.method !== 'GET') return response;
      resolve(response.status);
      const decoder = new TextDecoder();
      const body = response.body.pipeThrough(new TransformStream({
        transform(piece, out) {
          heard.text += decoder.decode(piece, { stream: true });
          out.enqueue(piece);
        },
      }));
      return new Response(body, { status: response.status, headers: response.headers });
    };
  });
  return heard;
}

export async function run(base) {
  const url = new URL(base);
  const heard = listener();
  const transport = new StreamableHTTPClientTransport(url, { fetch: heard.fetch });
  const client = new Client({ name: 'alpha-client', version: '0.1.0' }, { capabilities: { sampling: {} } });
  const logged = [];
  let changed;
  const listChanged = new Promise((resolve) => (changed = resolve));
  client.setNotificationHandler(LoggingMessageNotificationSchema, async ({ params }) => {
    logged.push(params.data.number);
    await open(base, 'announce');
  });
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => changed());
  client.setRequestHandler(CreateMessageRequestSchema, async ({ params }) => ({
    model: 'tiny', role: 'assistant', content: { type: 'text', text: `${params.messages[0].content.text}: 42` },
  }));
  await client.connect(transport);
  const session = transport.sessionId;
  const out = { server: client.getServerVersion(), session: Boolean(session), stream: await heard.begins };
  out.tools = (await client.listTools()).tools.map((t) => t.name).sort();

  const progress = [];
  const counted = await client.callTool({ name: 'count', arguments: { to: 4 } }, undefined, {
    onprogress: async ({ progress: now, total, message }) => {
      progress.push([now, total, message]);
      await open(base, 'count');
    },
  });
  Object.assign(out, { progress, counted: textOf(counted) });

  out.announced = textOf(await client.callTool({ name: 'announce', arguments: { times: 3 } }));
  await listChanged;
  Object.assign(out, { logged, overOwnStream: heard.text.match(/"method":"notifications\/[a-z_/]+"/g).map((m) => m.slice(24, -1)) });
  out.late = textOf(await client.callTool({ name: 'late' }));

  out.asked = textOf(await client.callTool({ name: 'ask', arguments: { question: 'what is it' } }));

  const large = textOf(await client.callTool({ name: 'large', arguments: { bytes: 5 * kMiB } }));
  out.large = [large.length, createHash('sha256').update(large).digest('hex')];
  const text = 'fedcba9876543210'.repeat((3 * kMiB) / 16);
  out.digest = textOf(await client.callTool({ name: 'digest', arguments: { text } }));

  const cancel = new AbortController();
  const waiting = client.callTool({ name: 'wait' }, undefined, { signal: cancel.signal });
  const cancelled = failureOf(waiting);
  await pass(base, 'waiting');
  cancel.abort('enough');
  out.cancelled = String((await cancelled).message);

  await transport.terminateSession();
  out.terminated = transport.sessionId === undefined;
  await client.close();
  const stale = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-session-id': session },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  });
  out.stale = stale.status;

  // One that goes without a word, while it listens.
  const other = listener();
  await new Client({ name: 'brief', version: '0.1.0' }).connect(new StreamableHTTPClientTransport(url, { fetch: other.fetch }));
  await other.begins;
  return out;
}
