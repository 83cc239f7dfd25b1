// What OpenAI's Responses API asks of a server: POST /api/v1/responses, at once or as events.
import express from 'express';

import { makeApp, startEvents } from './desk.js';

function response(request, status, text) {
  const item = { id: 'msg_1', type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text, annotations: [] }] };
  return {
    id: 'resp_1', object: 'response', created_at: 1764000000, status, model: request.model, error: null, incomplete_details: null, instructions: null,
    metadata: {}, parallel_tool_calls: false, tool_choice: 'auto', tools: [], temperature: 1, top_p: 1, output: status === 'completed' ? [item] : [],
    usage: status === 'completed' ? { input_tokens: 2, output_tokens: 3, total_tokens: 5 } : null,
  };
}

// Every event that the API sends for one message, each after the one before was let through.
async function stream(request, text, res, desk) {
  const send = startEvents(res);
  let number = 0;
  const event = async (type, fields) => {
    send({ type, sequence_number: number++, ...fields }, type);
    await desk.pass(request.metadata.gate);
  };
  const at = { item_id: 'msg_1', output_index: 0, content_index: 0 };
  const [item] = response(request, 'completed', text).output;
  await event('response.created', { response: response(request, 'in_progress', '') });
  await event('response.in_progress', { response: response(request, 'in_progress', '') });
  await event('response.output_item.added', { output_index: 0, item: { ...item, status: 'in_progress', content: [] } });
  await event('response.content_part.added', { ...at, part: { type: 'output_text', text: '', annotations: [] } });
  for (const delta of text.split(/(?<= )/)) await event('response.output_text.delta', { ...at, delta, logprobs: [] });
  await event('response.output_text.done', { ...at, text, logprobs: [] });
  await event('response.content_part.done', { ...at, part: item.content[0] });
  await event('response.output_item.done', { output_index: 0, item });
  await event('response.completed', { response: response(request, 'completed', text) });
  res.end();
}

export function start() {
  const { app, desk } = makeApp('/api/v1');
  app.post('/api/v1/responses', express.json({ limit: '16mb' }), async (req, res) => {
    const { model, input } = req.body;
    if (model === 'unknown') {
      const error = { message: 'no such model', type: 'invalid_request_error', param: 'model', code: 'model_not_found' };
      res.status(404).set('x-request-id', 'req_7').json({ error });
    } else if (model === 'silent') {
      desk.open('asked');
    } else if (req.body.stream) {
      await stream(req.body, `You said ${input}`, res, desk);
    } else {
      res.json(response(req.body, 'completed', `You said ${input}`));
    }
  });
  return app;
}
