// WebSocket: greets, repeats what comes, and ends with the code and reason that it is told.
import { createServer } from 'node:http';

import { WebSocketServer } from 'ws';

import { makeApp } from './desk.js';

export function start() {
  const { app, desk } = makeApp();
  const server = createServer(app);
  const sockets = new WebSocketServer({ server, maxPayload: 16 << 20, handleProtocols: (offered) => (offered.has('talk.v2') ? 'talk.v2' : false) });
  sockets.on('connection', (socket, req) => {
    desk.record(req);
    socket.send(JSON.stringify({ hello: req.headers['sluice-caller-name'] }));
    socket.on('message', (data, binary) => {
      const text = binary ? '' : data.toString();
      if (text.startsWith('end ')) socket.close(4001, text.slice(4));
      else socket.send(data, { binary });
    });
    socket.on('ping', (data) => desk.notes.push(`ping ${data}`));
    socket.on('close', (code, reason) => desk.notes.push(`closed ${code} ${reason}`.trim()));
  });
  return server;
}
