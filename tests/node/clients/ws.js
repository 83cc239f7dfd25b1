import { randomBytes } from 'node:crypto';
import { once } from 'node:events';

import WebSocket from 'ws';

export async function run(base) {
  const url = `${base.replace('http:', 'ws:')}/talk?room=1`;
  const out = {};
  const socket = new WebSocket(url, ['talk.v1', 'talk.v2']);
  const hello = once(socket, 'message');
  await once(socket, 'open');
  out.protocol = socket.protocol;
  const next = async () => (await once(socket, 'message'))[0];
  out.hello = JSON.parse((await hello)[0]);
  out.words = [];
  for (const word of ['one', 'zwei', 'три']) {
    socket.send(word);
    out.words.push((await next()).toString());
  }
  const blob = randomBytes(3_000_000);
  socket.send(blob);
  out.blob = (await next()).equals(blob);
  socket.ping('are you there');
  out.pong = (await once(socket, 'pong'))[0].toString();
  socket.send('end that is all');
  const [code, reason] = await once(socket, 'close');
  out.closed = [code, reason.toString()];

  // One that goes without a word.
  const second = new WebSocket(url);
  await once(second, 'message');
  second.terminate();
  return out;
}
