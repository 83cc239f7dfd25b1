// Model Context Protocol: streamable HTTP with sessions, under /mcp.
import { createHash, randomUUID } from 'node:crypto';

import express from 'express';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { CreateMessageResultSchema, isInitializeRequest } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';

import { makeApp } from './desk.js';

const said = (text) => ({ content: [{ type: 'text', text }] });

function makeServer(desk) {
  const server = new McpServer({ name: 'beta-tools', version: '1.2.3' }, { capabilities: { logging: {}, tools: { listChanged: true } } });
  server.registerTool('count', { description: 'Counts, and says how far it is', inputSchema: { to: z.number() } }, async ({ to }, extra) => {
    for (let i = 1; i <= to; i++) {
      await extra.sendNotification({
        method: 'notifications/progress',
        params: { progressToken: extra._meta.progressToken, progress: i, total: to, message: `step ${i}` },
      });
      await desk.pass('count');
    }
    return said(`counted to ${to}`);
  });
  // Not tied to a request, these go over the session's own stream.
  server.registerTool('announce', { description: 'Notifies of its own accord', inputSchema: { times: z.number() } }, async ({ times }) => {
    (async () => {
      for (let i = 1; i <= times; i++) {
        await server.sendLoggingMessage({ level: 'info', logger: 'beta', data: { number: i } });
        await desk.pass('announce');
      }
      server.registerTool('late', { description: 'Was not there before' }, async () => said('late, but here'));
    })();
    return said('it will come');
  });
  server.registerTool('ask', { description: "Asks the client's model", inputSchema: { question: z.string() } }, async ({ question }, extra) => {
    const answer = await extra.sendRequest(
      { method: 'sampling/createMessage', params: { messages: [{ role: 'user', content: { type: 'text', text: question } }], maxTokens: 10 } },
      CreateMessageResultSchema,
    );
    return said(`${answer.model} says ${answer.content.text}`);
  });
  server.registerTool('large', { description: 'Says much', inputSchema: { bytes: z.number() } }, async ({ bytes }) =>
    said('0123456789abcdef'.repeat(Math.ceil(bytes / 16)).slice(0, bytes)),
  );
  server.registerTool('digest', { description: 'Takes much', inputSchema: { text: z.string() } }, async ({ text }) =>
    said(createHash('sha256').update(text).digest('hex')),
  );
  server.registerTool('wait', { description: 'Waits until it is cancelled' }, async (extra) => {
    desk.open('waiting');
    await new Promise((resolve) => extra.signal.addEventListener('abort', resolve));
    desk.notes.push('wait was cancelled');
    return said('cancelled');
  });
  return server;
}

export function start() {
  const { app, desk } = makeApp('/mcp');
  const sessions = new Map();
  app.use(express.json({ limit: '16mb' }));
  app.all('/mcp', async (req, res) => {
    const id = req.headers['mcp-session-id'];
    let transport = sessions.get(id);
    if (!transport && id) {
      res.status(404).json({ jsonrpc: '2.0', error: { code: -32001, message: 'Session not found' }, id: null });
      return;
    }
    if (!transport && !isInitializeRequest(req.body)) {
      res.status(400).json({ jsonrpc: '2.0', error: { code: -32000, message: 'No session' }, id: null });
      return;
    }
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (made) => sessions.set(made, transport),
        onsessionclosed: (ended) => {
          sessions.delete(ended);
          desk.notes.push('a session was terminated');
        },
      });
      await makeServer(desk).connect(transport);
    }
    await transport.handleRequest(req, res, req.body);
  });
  return app;
}
