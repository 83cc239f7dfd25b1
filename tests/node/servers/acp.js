// Agent Communication Protocol: agents, and runs of them that are waited for, polled, or told as events.
import { randomUUID } from 'node:crypto';

import express from 'express';

import { makeApp, startEvents } from './desk.js';

const kAgent = {
  name: 'writer', description: 'Writes it again in capitals', input_content_types: ['text/plain'], output_content_types: ['text/plain'], metadata: {},
};

const part = (content) => ({ content_type: 'text/plain', content_encoding: 'plain', content });

export function start() {
  const { app, desk } = makeApp();
  const runs = new Map();
  app.use(express.json());
  app.get('/ping', (req, res) => res.json({}));
  app.get('/agents', (req, res) => res.json({ agents: [kAgent] }));
  app.get('/agents/:name', (req, res) =>
    req.params.name === kAgent.name ? res.json(kAgent) : res.status(404).json({ code: 'not_found', message: `no agent ${req.params.name}` }),
  );
  app.post('/runs', async (req, res) => {
    const { agent_name, input, mode = 'sync' } = req.body;
    if (agent_name !== kAgent.name) return res.status(404).json({ code: 'not_found', message: `no agent ${agent_name}` });
    const words = input[0].parts[0].content.toUpperCase().split(/(?<= )/);
    const run = {
      agent_name, run_id: randomUUID(), session_id: randomUUID(), status: 'created', output: [], await_request: null, error: null,
      created_at: '2026-01-01T00:00:00Z',
    };
    runs.set(run.run_id, run);
    res.set('Run-ID', run.run_id);
    const finish = () => Object.assign(run, { status: 'completed', output: [{ role: 'agent/writer', parts: [part(words.join(''))] }] });
    if (mode === 'sync') return res.json(finish());
    if (mode === 'async') {
      res.status(202).json(run);
      await desk.pass('finish');
      return finish();
    }
    const send = startEvents(res);
    const gate = req.headers['x-gate'];
    const event = async (type, fields) => {
      send({ type, ...fields });
      await desk.pass(gate);
    };
    await event('run.created', { run });
    run.status = 'in-progress';
    await event('run.in-progress', { run });
    await event('message.created', { message: { role: 'agent/writer', parts: [] } });
    for (const word of words) await event('message.part', { part: part(word) });
    finish();
    await event('message.completed', { message: run.output[0] });
    await event('run.completed', { run });
    return res.end();
  });
  app.get('/runs/:id', (req, res) => {
    const run = runs.get(req.params.id);
    return run ? res.json(run) : res.status(404).json({ code: 'not_found', message: 'no such run' });
  });
  return app;
}
