// An OAuth2 server by other hands than ours (oidc-provider), and endpoints that misbehave beside it, for tests/system/oauth2_test.py.
//   oidc.js CERTIFICATE KEY    prints its port, then a line of JSON for each request; a line on standard input that names a client revokes it
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';
import MemoryAdapter from 'oidc-provider/lib/adapters/memory_adapter.js';

const client = (id, method) => ({
  client_id: id, client_secret: `secret of ${id}: a/b+c`, token_endpoint_auth_method: method, grant_types: ['client_credentials'],
  redirect_uris: [], response_types: [], scope: 'read write',
});
const clients = new Map([client('basic', 'client_secret_basic'), client('post', 'client_secret_post'), client('doomed', 'client_secret_basic')]
  .map((c) => [c.client_id, c]));
const known = (name) => (name === 'Client' ? { find: async (id) => clients.get(id) } : new MemoryAdapter(name));

const [, , certificate, key] = process.argv;
const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) });
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const provider = new Provider(`https://localhost:${port}`, {
    adapter: known,
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, audience) => ({ audience, scope: 'read write', accessTokenFormat: 'opaque' }),
      },
    },
    scopes: ['read', 'write'],
    ttl: { ClientCredentials: 4 },
  });
  const handle = provider.callback();
  let failures = 0;
  server.on('request', async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'https://localhost');
    console.log(JSON.stringify({ path: pathname, at: Date.now() }));
    const json = (status, body, fields = {}) => {
      response.writeHead(status, { 'Content-Type': 'application/json', ...fields });
      response.end(JSON.stringify(body));
    };
    switch (pathname) {
      case '/check': {
        const token = await provider.ClientCredentials.find(searchParams.get('token'));
        return json(200, token ? { client: token.clientId, scope: token.scope ?? '', audience: token.aud ?? '' } : {});
      }
      case '/slow': return undefined;  // it never answers
      case '/drip': {  // nor does it ever come to an end
        response.writeHead(200);
        const timer = setInterval(() => response.write(' '), 100);
        return request.socket.on('close', () => clearInterval(timer));
      }
      case '/fails':
        failures += 1;
        return failures < 3 ? json(500, { error: 'server_error' })
          : json(200, { access_token: 'after-failures', token_type: 'Bearer', expires_in: 3600 });
      case '/busy': return json(429, {}, { 'Retry-After': '120' });
      case '/huge': return json(200, { access_token: 'x'.repeat(1 << 20), token_type: 'Bearer' });
      case '/large': return json(200, { access_token: 'x'.repeat(9000), token_type: 'Bearer' });
      case '/moved': return json(307, {}, { Location: `https://localhost:${port}/token` });
      case '/mac': return json(200, { access_token: 'y', token_type: 'mac' });
      case '/echo': {
        let body = '';
        for await (const piece of request) body += piece;
        return json(400, { error: 'invalid_client', error_description: `${request.headers.authorization} ${body}` });
      }
      default: return handle(request, response);
    }
  });
  console.log(port);
});
createInterface({ input: process.stdin }).on('line', (id) => clients.delete(id));
