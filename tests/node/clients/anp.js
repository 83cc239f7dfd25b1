import { createHash, randomBytes } from 'node:crypto';

import { failureOf, json, pass } from './common.js';

async function rpc(url, id, method, params) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'DIDWba did="did:wba:alpha.example", nonce="1", signature="c2lnbmVk"' },
    body: JSON.stringify({ jsonrpc: '2.0', id, method, params }),
  });
  return { trace: response.headers.get('sluice-trace'), ...(await response.json()) };
}

export async function run(base) {
  const out = {};
  const found = await json(await fetch(`${base}/.well-known/agent-descriptions`));
  out.found = [found.status, found.type, found.body.items.map((i) => i.name)];
  const ad = await json(await fetch(found.body.items[0]['@id']));
  out.ad = [ad.status, ad.type, ad.body['@type'], ad.body.did];
  const described = await json(await fetch(ad.body.interfaces[0].url));
  out.methods = described.body.methods.map((m) => m.name);
  const at = described.body.servers[0].url;
  const booked = await rpc(at, 1, 'book', { nights: 3 });
  Object.assign(out, { booked: booked.result, trace: booked.trace });
  out.error = (await rpc(at, 2, 'cancel', {})).error.code;
  const nobody = await json(await fetch(`${base}/agents/nobody/ad.json`));
  out.nobody = [nobody.status, nobody.body.error];

  // A body that is made as it goes.
  const pieces = Array.from({ length: 40 }, () => randomBytes(50_000));
  const whole = Buffer.concat(pieces);
  const put = (body, signal) => fetch(`${base}/agents/hotel/photo`, { method: 'PUT', body, duplex: 'half', signal });
  const uploaded = await json(await put(ReadableStream.from(pieces)));
  out.uploaded = [uploaded.status, uploaded.body.bytes === whole.length, uploaded.body.sha256 === createHash('sha256').update(whole).digest('hex')];
  await pass(base, 'upload');
  const leave = new AbortController();
  async function* endless() {
    yield pieces[0];
    await new Promise(() => {});
  }
  const half = failureOf(put(ReadableStream.from(endless()), leave.signal));
  await pass(base, 'upload');
  leave.abort();
  out.aborted = (await half)?.name;
  return out;
}
