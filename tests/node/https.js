// HTTPS endpoints for tests/system/egress_test.py: HTTP/2 and HTTP/1.1, HTTP/1.1 alone, with a client's certificate, TLS 1.1 alone, and plain HTTP.
//   https.js FOLDER    with server.crt, server.key and ca.crt; prints the ports as a line of JSON, and what it was asked as further ones
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer as plain } from 'node:http';
import { createSecureServer as http2 } from 'node:http2';
import { createServer as https } from 'node:https';

const file = (name) => readFileSync(`${process.argv[2]}/${name}`);
const own = { cert: file('server.crt'), key: file('server.key') };
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const say = (line) => console.log(JSON.stringify(line));
let next = () => {};
let connections = 0;

async function answer(request, response) {
  const url = new URL(request.url, 'https://x');
  const { pathname, searchParams } = url;
  const socket = request.stream?.session?.socket ?? request.socket;
  socket.number ??= ++connections;
  const { authorization } = request.headers;
  say({ method: request.method, url: request.url, version: request.httpVersion, headers: request.headers, connection: socket.number,
        raw: request.rawHeaders.filter((_, i) => i % 2 === 0),
        tls: socket.getProtocol?.(), client: socket.getPeerCertificate?.()?.subject?.CN });
  const gone = () => say({ gone: pathname });
  let drained = () => {};
  for (const event of ['drain', 'close']) response.on(event, () => drained());
  const write = (piece) => new Promise((resolve) => { drained = resolve; if (response.write(piece)) resolve(); });
  switch (pathname.slice(1).split('/').pop()) {
    case 'echo':
      response.writeHead(200, { 'Content-Type': 'application/octet-stream' });
      request.on('aborted', gone);
      request.pipe(response);
      return;
    case 'sum': {
      const hash = createHash('sha256');
      let bytes = 0;
      for await (const piece of request) { hash.update(piece); bytes += piece.length; }
      response.end(JSON.stringify({ bytes, sha256: hash.digest('hex') }));
      return;
    }
    case 'stream': {
      let left = Number(searchParams.get('n'));
      response.writeHead(200, searchParams.has('length') ? { 'Content-Length': left } : {});
      let open = true;
      response.on('close', () => { if (left > 0) gone(); open = false; });
      const piece = Buffer.alloc(65536, 'x');
      while (left > 0 && open) {
        const n = Math.min(left, piece.length);
        await write(piece.subarray(0, n));
        left -= n;
      }
      if (open) response.end();
      return;
    }
    case 'events':
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.on('close', gone);
      for (let i = 0; i < 3; ++i) {
        await write(`data: ${i}\n\n`);
        await new Promise((resolve) => { next = resolve; });
      }
      response.end();
      return;
    case 'next':
      next();
      response.end();
      return;
    case 'reflect': {
      const key = request.headers['x-api-key'] ?? authorization?.split(' ')[1] ?? searchParams.get('key') ?? '';
      const body = `you said ${authorization ?? ''} and ${key}; json ${JSON.stringify(key)} url ${encodeURIComponent(key)} at ${request.url}.`;
      response.writeHead(200, { 'X-Echo': `key=${key}`, 'Content-Length': Buffer.byteLength(body), 'Set-Cookie': `session=${key}`, 'X-Other': 'stays' });
      for (const c of body) { response.write(c); if (Math.random() < 0.2) await pause(1); }
      response.end();
      return;
    }
    case 'slow': response.on('close', gone); return;
    case 'break':
      response.writeHead(200, { 'Content-Length': 100000 });
      await write(Buffer.alloc(50000));
      await pause(50);
      if (request.stream) request.stream.close(2); else socket.destroy();
      return;
    case 'early': response.writeHead(413); response.end('too much'); return;
    case 'moved': response.writeHead(302, { Location: `https://localhost:${ports.h1}/head` }); response.end(); return;
    case 'empty': response.writeHead(204); response.end(); return;
    case 'close': response.writeHead(200, request.httpVersion === '2.0' ? {} : { Connection: 'close' }); response.end('bye'); return;
    case 'goaway': {
      const { session } = request.stream;
      response.on('finish', () => session.close());
      response.end('bye');
      return;
    }
    default:
      response.writeHead(200, { 'Content-Type': 'application/json', 'X-Multi': ['a', 'b'] });
      response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers }));
  }
}

const servers = {
  h2: http2({ ...own, allowHTTP1: true }, answer),
  h1: https(own, answer),
  mutual: https({ ...own, ca: file('ca.crt'), requestCert: true, rejectUnauthorized: true }, answer),
  old: https({ ...own, minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }, answer),
  tls12: https({ ...own, maxVersion: 'TLSv1.2' }, answer),
  plain: plain(answer),
};
const ports = {};
for (const [name, server] of Object.entries(servers)) {
  await new Promise((resolve) => { server.listen(0, 'localhost', resolve); });
  ports[name] = server.address().port;
}
say(ports);
