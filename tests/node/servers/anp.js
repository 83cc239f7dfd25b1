// Agent Network Protocol: who is here (JSON-LD), and a JSON-RPC interface described by OpenRPC. `front` is the address that callers use.
import { createHash } from 'node:crypto';

import express from 'express';

import { makeApp } from './desk.js';

const kContext = { '@vocab': 'https://schema.org/', ad: 'https://agent-network-protocol.com/ad#' };

function description(front) {
  return {
    '@context': kContext,
    '@type': 'ad:AgentDescription',
    '@id': `${front}/agents/hotel/ad.json`,
    protocolType: 'ANP',
    protocolVersion: '1.0.0',
    type: 'AgentDescription',
    name: 'Hotel',
    did: 'did:wba:beta.example:hotel',
    securityDefinitions: { didwba_sc: { scheme: 'didwba', in: 'header', name: 'Authorization' } },
    security: 'didwba_sc',
    interfaces: [{ type: 'StructuredInterface', protocol: 'openrpc', version: '1.3.2', url: `${front}/agents/hotel/interface.json` }],
  };
}

function openrpc(front) {
  return {
    openrpc: '1.3.2',
    info: { title: 'Hotel', version: '1.0.0' },
    servers: [{ name: 'rpc', url: `${front}/agents/hotel/rpc` }],
    methods: [{
      name: 'book',
      params: [{ name: 'nights', required: true, schema: { type: 'integer' } }],
      result: { name: 'booking', schema: { type: 'object' } },
    }],
  };
}

export function start(front) {
  const { app, desk } = makeApp();
  app.get('/.well-known/agent-descriptions', (req, res) => {
    const items = [{ '@type': 'ad:AgentDescription', name: 'Hotel', '@id': `${front}/agents/hotel/ad.json` }];
    const page = { '@context': kContext, '@type': 'CollectionPage', url: `${front}/.well-known/agent-descriptions`, items };
    res.type('application/ld+json').send(JSON.stringify(page));
  });
  app.get('/agents/:name/ad.json', (req, res) => {
    if (req.params.name !== 'hotel') return res.status(404).json({ error: `nobody is called ${req.params.name}` });
    return res.type('application/ld+json').send(JSON.stringify(description(front)));
  });
  app.get('/agents/hotel/interface.json', (req, res) => res.json(openrpc(front)));
  app.post('/agents/hotel/rpc', express.json(), (req, res) => {
    const { id, method, params } = req.body;
    if (method !== 'book') return res.json({ jsonrpc: '2.0', id, error: { code: -32601, message: 'Method not found' } });
    return res.json({ jsonrpc: '2.0', id, result: { nights: params.nights, price: params.nights * 80, guest: req.headers['sluice-caller'] } });
  });
  // What is uploaded, as it comes; whoever breaks off has not uploaded it.
  app.put('/agents/hotel/photo', (req, res) => {
    const digest = createHash('sha256');
    let bytes = 0;
    req.on('data', (piece) => {
      if (bytes === 0) desk.open('upload');
      bytes += piece.length;
      digest.update(piece);
    });
    req.on('error', () => desk.notes.push('an upload broke off'));
    req.on('end', () => {
      desk.notes.push('an upload is whole');
      res.json({ bytes, sha256: digest.digest('hex') });
    });
  });
  return app;
}
