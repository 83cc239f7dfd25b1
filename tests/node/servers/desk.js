// What each server of these tests keeps beside its protocol: what it was asked and by whom, which requests ended before their answers
// did, and gates, where one side waits until the other has let it through, once for each time.
import express from 'express';

export class Desk {
  seen = [];
  gone = [];
  notes = [];
  #gates = new Map();

  record(req) {
    this.seen.push({
      method: req.method,
      path: req.url,
      caller: req.headers['sluice-caller'],
      name: req.headers['sluice-caller-name'],
      protocol: req.headers['sluice-protocol'],
      trace: req.headers['sluice-trace'],
      authorization: req.headers.authorization,
    });
  }

  // Resolves once the gate of that name was opened for one more.
  pass(name) {
    const gate = this.#gate(name);
    if (gate.free > 0) {
      gate.free--;
      return Promise.resolve();
    }
    return new Promise((resolve) => gate.waiting.push(resolve));
  }

  open(name) {
    const gate = this.#gate(name);
    const first = gate.waiting.shift();
    if (first) first();
    else gate.free++;
  }

  #gate(name) {
    if (!this.#gates.has(name)) this.#gates.set(name, { free: 0, waiting: [] });
    return this.#gates.get(name);
  }
}

// An application whose protocol is under `base`. A client opens a gate by POST base/gate/NAME, and waits for one by GET; GET /desk is
// for whoever looks on.
export function makeApp(base = '') {
  const app = express();
  const desk = new Desk();
  app.get('/desk', (req, res) => res.json({ seen: desk.seen, gone: desk.gone, notes: desk.notes }));
  app.use((req, res, next) => {
    desk.record(req);
    const what = `${req.method} ${req.url}`;
    res.on('close', () => {
      if (!res.writableFinished) desk.gone.push(what);
    });
    next();
  });
  app.post(`${base}/gate/:name`, (req, res) => {
    desk.open(req.params.name);
    res.status(204).end();
  });
  app.get(`${base}/gate/:name`, async (req, res) => {
    await desk.pass(req.params.name);
    res.status(204).end();
  });
  return { app, desk };
}

// The head of an answer that consists of events; each call of what is returned sends one.
export function startEvents(res) {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  return (data, event) => res.write(`${event ? `event: ${event}\n` : ''}data: ${JSON.stringify(data)}\n\n`);
}
