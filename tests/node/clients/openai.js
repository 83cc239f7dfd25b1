import OpenAI from 'openai';

import { failureOf, open, pass } from './common.js';

export async function run(base) {
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'sk-test', maxRetries: 0 });
  const out = {};
  const whole = await client.responses.create({ model: 'small', input: 'hello there' });
  Object.assign(out, { text: whole.output_text, status: whole.status, usage: whole.usage.total_tokens });

  const stream = await client.responses.create({ model: 'small', input: 'hello there', stream: true, metadata: { gate: 'gated' } });
  Object.assign(out, { events: [], deltas: [] });
  for await (const event of stream) {
    if (event.type === 'response.output_text.delta') out.deltas.push(event.delta);
    else out.events.push(event.type);
    if (event.type === 'response.completed') out.completed = event.response.output[0].content[0].text;
    await open(`${base}/v1`, 'gated');
  }
  const long = 'x'.repeat(1 << 20);
  const echoed = await client.responses.create({ model: 'small', input: long });
  out.long = echoed.output_text === `You said ${long}`;

  const inputs = Array.from({ length: 40 }, (_, i) => `number ${i}`);
  const answers = await Promise.all(inputs.map((input) => client.responses.create({ model: 'small', input })));
  out.parallel = answers.filter((a, i) => a.output_text === `You said ${inputs[i]}`).length;

  const error = await failureOf(client.responses.create({ model: 'unknown', input: 'hello' }));
  out.error = [error?.constructor.name, error?.status, error?.code, error?.requestID];

  const left = await client.responses.create({ model: 'small', input: 'hello there', stream: true, metadata: { gate: 'never' } });
  out.left = [];
  for await (const event of left) {
    out.left.push(event.type);
    left.controller.abort();
  }
  // One that leaves before any answer.
  const leave = new AbortController();
  const silent = failureOf(client.responses.create({ model: 'silent', input: 'hello' }, { signal: leave.signal }));
  await pass(`${base}/v1`, 'asked');
  leave.abort();
  out.aborted = (await silent)?.constructor.name;
  return out;
}
