import { eventsOf, failureOf, json, open } from './common.js';

const ask = (base, mode, gate, signal) => fetch(`${base}/runs`, {
  method: 'POST',
  headers: {
    'content-type': 'application/json',
    accept: mode === 'stream' ? 'text/event-stream' : 'application/json',
    ...(gate && { 'x-gate': gate }),
  },
  body: JSON.stringify({
    agent_name: 'writer',
    mode,
    input: [{ role: 'user', parts: [{ content_type: 'text/plain', content: 'write this again' }] }],
  }),
  signal,
});

const outputOf = (run) => run.output.map((m) => m.parts[0].content);

export async function run(base) {
  const out = {};
  out.agents = (await json(await fetch(`${base}/agents`))).body.agents.map((a) => a.name);
  const sync = await json(await ask(base, 'sync'));
  out.sync = [sync.status, sync.body.status, outputOf(sync.body)];

  const begun = await ask(base, 'async');
  const id = begun.headers.get('run-id');
  const first = await json(begun);
  out.async = [first.status, first.body.status, first.body.run_id === id];
  const look = async () => (await json(await fetch(`${base}/runs/${id}`))).body;
  out.before = (await look()).status;
  await open(base, 'finish');
  const after = await look();
  out.after = [after.status, outputOf(after)];

  const stream = await ask(base, 'stream', 'gated');
  out.type = stream.headers.get('content-type');
  out.events = [];
  for await (const event of eventsOf(stream)) {
    out.events.push(event.type === 'message.part' ? event.part.content : event.type);
    await open(base, 'gated');
  }

  const leave = new AbortController();
  out.left = [];
  out.failure = (await failureOf((async () => {
    for await (const event of eventsOf(await ask(base, 'stream', 'never', leave.signal))) {
      out.left.push(event.type);
      leave.abort();
    }
  })()))?.name;
  return out;
}
