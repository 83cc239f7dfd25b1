// Trust by way of the client: asked for, refused, taken back, granted with a quota, ended.
import assert from "node:assert/strict";
import { test } from "node:test";

import { alice, carol, fails, refuses, serving, until } from "./lab.js";

const waiting = async (who, way = "incoming") => (await who.pending())[way];
const knows = async (who, name) => (await who.peers()).peers.find((p) => p.name === name);

test("an agent that is private is not looked up, one that is public is", async () => {
  await assert.rejects(alice.requestTrust("carol", "to use your tools"), refuses("not_found"));
  assert.deepEqual(await carol.setVisibility("public"), { visibility: "public" });
  const { did } = await carol.info();
  const asked = await alice.requestTrust("carol", "to use your tools");
  assert.deepEqual([asked.state, asked.peer], ["pending", did]);
  assert.match(asked.request, /^[0-9a-f]{64}$/);
  const [incoming] = await until("the request to reach carol", async () => (await waiting(carol)).length === 1 && waiting(carol));
  assert.deepEqual([incoming.request, incoming.name, incoming.justification, incoming.trustEndsMs], [asked.request, "alice", "to use your tools", null]);
  assert.deepEqual(incoming.asked, { right: "may_send", scopes: [], protocols: [], capabilities: [] });
  assert.equal((await carol.setVisibility("private")).visibility, "private");
});

test("a request can be taken back", async () => {
  const { did } = await carol.info();
  assert.equal((await waiting(alice, "outgoing")).length, 1);
  assert.equal((await alice.untrust(did)).what, "request");
  await until("both to forget it", async () => (await waiting(carol)).length === 0 && (await waiting(alice, "outgoing")).length === 0);
});

test("and be refused", async () => {
  const { did } = await carol.info();
  const { request } = await alice.requestTrust(did, "once more");
  await until("the request to reach carol", async () => (await waiting(carol)).length === 1);
  const answer = await carol.reject("alice", "not today");
  assert.deepEqual([answer.state, answer.request, answer.name], ["rejected", request, "alice"]);
  await until("alice to hear of it", async () => (await waiting(alice, "outgoing")).length === 0);
  assert.equal(await knows(alice, "carol"), undefined);
  await assert.rejects(alice.call("carol", "x"), refuses("not_found"));
  await assert.rejects(carol.approve("alice"), refuses("not_found"));
});

test("what is granted holds: terms, quota, and its end", async (t) => {
  const { did } = await carol.info();
  const asked = await alice.requestTrust(did, "three questions", {
    right: "may_open", offer: "reply_only", capabilities: ["read"], protocols: ["raw"], scopes: ["weather"], forSeconds: 3_600,
  });
  await until("the request to reach carol", async () => (await waiting(carol)).length === 1);
  const [incoming] = await waiting(carol);
  assert.deepEqual(incoming.asked, { right: "may_open", scopes: ["weather"], protocols: ["raw"], capabilities: ["read"] });
  assert.equal(incoming.offered.right, "reply_only");
  assert.ok(incoming.trustEndsMs > Date.now());
  const answer = await carol.approve(incoming.request, { quota: { calls: 3, seconds: 3_600 } });
  assert.deepEqual([answer.state, answer.request], ["approved", asked.request]);
  const edge = await until("both to know each other", async () => {
    const [a, c] = [await knows(alice, "carol"), await knows(carol, "alice")];
    return a?.verified && c?.verified && a;
  });
  assert.deepEqual([edge.did, edge.right, edge.source], [did, "may_open", "agreement"]);
  assert.ok(edge.expiresMs > Date.now());
  const { seen } = await serving(t, carol, () => "rain");
  const options = { capability: "read", scopes: ["weather"] };
  await assert.rejects(alice.call("carol", "x", { scopes: ["weather"] }), fails({ reason: "capability_not_allowed" }));
  const left = seen.length;
  for (let i = 0; i < 3; ++i) assert.equal((await alice.call("carol", "x", options)).text(), "rain");
  await assert.rejects(alice.call("carol", "x", options), (error) => {
    fails({ code: "resource", reason: "quota_exhausted" })(error);
    assert.ok(error.retryAfterMs === null || error.retryAfterMs > 0);
    return true;
  });
  assert.deepEqual([left, seen.length], [0, 3]);
  const ended = await carol.untrust("alice", "that was all");
  assert.deepEqual([ended.state, ended.what], ["ended", "pair"]);
  await assert.rejects(alice.call("carol", "x", options), (error) => ["revoked", undefined].includes(error.reason));
  await until("alice to know", async () => (await knows(alice, "carol"))?.state !== "ok");
  assert.equal(seen.length, 3);
});
