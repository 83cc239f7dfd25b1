// What a caller hears whose grant names other protocols.
import OpenAI from 'openai';

import { failureOf, json } from './common.js';

export async function run(base) {
  const out = {};
  for (const path of ['a2a/.well-known/agent-card.json', 'openai-responses/v1/responses', 'anp/agents/hotel/ad.json', 'acp/agents', 'talk']) {
    const { status, type, body } = await json(await fetch(`${base}/${path}`));
    out[path.split('/')[0]] = [status, type, body.reason];
  }
  const client = new OpenAI({ baseURL: `${base}/openai-responses/v1`, apiKey: 'sk-test', maxRetries: 0 });
  const error = await failureOf(client.responses.create({ model: 'small', input: 'hello' }));
  out.client = [error?.constructor.name, error?.status];
  return out;
}
