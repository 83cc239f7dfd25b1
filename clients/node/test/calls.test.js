// Calls from the caller's side: bytes, envelopes, denials, ends.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { describe, test } from "node:test";

import { SluiceError } from "@sluice/client";

import { aborted, agent, alice, bob, carol, fails, later, MIB, refuses, serving, until, within } from "./lab.js";

const sha = (bytes) => createHash("sha256").update(bytes).digest("hex");
// One that the daemon is not told of ends when nobody has asked for it for 10 s.
const CANCELLED_WITHIN = 3;

describe("bytes there and back", () => {
  for (const size of [0, 1, 1119, 1120, 1121, 100_000, 16 * MIB]) {
    test(`${size} bytes`, async (t) => {
      const { seen } = await serving(t, bob, (call) => Buffer.from(call.data).reverse());
      const data = randomBytes(size);
      const result = await alice.call("bob", data, { timeoutMs: 120_000 });
      assert.equal(sha(seen[0].data), sha(data));
      assert.equal(sha(result.data), sha(Buffer.from(data).reverse()));
      assert.deepEqual([result.call.bytesSent, result.call.bytesReceived, seen.length], [size, size, 1]);
    });
  }
  test("each of 256 bytes", async (t) => {
    await serving(t, bob, (call) => call.data);
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    assert.deepEqual([...(await alice.call("bob", all)).data], [...all]);
  });
  test("text and JSON", async (t) => {
    await serving(t, bob, (call) => (call.text() === "grün €" ? "blau ¥" : { sum: call.json().reduce((a, b) => a + b) }));
    assert.equal((await alice.call("bob", "grün €")).text(), "blau ¥");
    assert.deepEqual((await alice.call("bob", [1, 2, 39])).json(), { sum: 42 });
    const other = await alice.call("bob", [1]);
    assert.throws(() => new other.constructor(Buffer.from("{"), other.call).json(), SyntaxError);
  });
  test("a byte too much", async (t) => {
    const { seen } = await serving(t, bob, () => "");
    await assert.rejects(alice.call("bob", Buffer.alloc(16 * MIB + 1)), refuses("too_large"));
    assert.equal(seen.length, 0);
  });
});

describe("an envelope", () => {
  test("says what it was given, to the callee and in the result", async (t) => {
    const { seen } = await serving(t, bob, () => "yes");
    const trace = randomBytes(16).toString("hex");
    const idempotencyKey = randomBytes(16).toString("hex");
    const result = await alice.call("bob", "x", { trace, idempotencyKey, capability: "read", service: 65_535, scopes: ["payments"], protocol: "raw" });
    const [call] = seen;
    const me = await alice.info();
    assert.deepEqual(call.peer, { did: me.did, name: "alice", address: me.address, verified: true });
    assert.deepEqual([call.trace, call.idempotencyKey, call.capability, call.protocol, call.service], [trace, idempotencyKey, "read", "raw", 65_535]);
    assert.match(call.scopes.join(), /^[0-9a-f]{16}$/);
    assert.deepEqual([result.trace, result.status, result.decision, result.call.idempotencyKey], [trace, 0, "authorized", idempotencyKey]);
    assert.deepEqual([result.call.direction, result.call.state, result.call.outcome, result.call.name], ["out", "ended", "done", "bob"]);
    assert.equal(result.call.peer, (await bob.info()).did);
    assert.match(result.messageId, /^[0-9a-f]{32}$/);
    const { accepted, request, total } = result.times;
    assert.ok([accepted, request].every((t) => 0 <= t && t <= total), JSON.stringify(result.times));
    const listed = (await alice.calls()).find((c) => c.messageId === result.messageId);
    assert.deepEqual(listed, result.call);
    assert.equal((await bob.calls()).find((c) => c.trace === trace).direction, "in");
  });
  test("without any of it has what is usual, and a trace and a key of its own", async (t) => {
    const { seen } = await serving(t, bob, () => "yes");
    for (let i = 0; i < 2; ++i) await alice.call("bob");
    assert.deepEqual(seen.map((c) => [c.capability, c.protocol, c.service, c.scopes.length, c.data.length]), Array(2).fill(["tool_call", "raw", 0, 0, 0]));
    assert.notEqual(seen[0].trace, seen[1].trace);
    assert.notEqual(seen[0].idempotencyKey, seen[1].idempotencyKey);
  });
  test("passes once for each key", async (t) => {
    const { seen } = await serving(t, bob, () => "once");
    const idempotencyKey = randomBytes(16).toString("hex");
    assert.equal((await alice.call("bob", "x", { idempotencyKey })).text(), "once");
    await assert.rejects(alice.call("bob", "x", { idempotencyKey }), fails({ code: "conflict", reason: "duplicate_idempotency_key" }));
    assert.equal(seen.length, 1);
  });
  test("reaches a peer by name, DID and address", async (t) => {
    await serving(t, bob, () => "here");
    const { did, address } = await bob.info();
    for (const peer of ["bob", did, address]) assert.equal((await alice.call(peer)).text(), "here");
  });
});

describe("what is not granted", () => {
  const denied = {
    capability_not_allowed: { capability: "delegate" },
    protocol_not_allowed: { protocol: "mcp" },
    missing_scope: { scopes: ["payments", "other"] },
  };
  for (const [reason, options] of Object.entries(denied)) {
    test(reason, async (t) => {
      const { seen } = await serving(t, bob, () => "no");
      const states = [];
      await assert.rejects(alice.call("bob", "x", { ...options, onState: (s) => states.push(s) }), (error) => {
        fails({ code: "refused", reason, data: Buffer.alloc(0) })(error);
        assert.match(error.hint, /handshake/);
        assert.equal(error.call.decision, reason);
        return true;
      });
      assert.deepEqual(states, ["ended"]);
      assert.equal(seen.length, 0, "the callee heard nothing of it");
    });
  }
  test("calls of one who may only answer", async (t) => {
    const { seen } = await serving(t, alice, () => "no");
    await assert.rejects(bob.call("alice", "x"), refuses("refused"));
    assert.equal(seen.length, 0);
  });
  test("peers that are none", async () => {
    await assert.rejects(alice.call("nosuch", "x"), refuses("not_found"));
    await assert.rejects(alice.call("carol", "x"), refuses("not_found"));
    await assert.rejects(alice.call(`did:key:${"z".repeat(30)}`, "x"), (error) => error instanceof SluiceError);
  });
});

describe("a peer that does not take calls", () => {
  test("has no server", async () => {
    await assert.rejects(alice.call("bob", "x"), fails({ code: "unreachable", reason: "not_served" }));
  });
  test("is busy", async (t) => {
    const gate = later();
    const { seen } = await serving(t, bob, () => gate.promise, { slots: 4 });
    const held = Array.from({ length: 3 }, () => alice.call("bob", "x"));
    await until("three to run", () => seen.length === 3);
    // One peer does not take the last quarter.
    await assert.rejects(alice.call("bob", "x"), fails({ code: "resource", reason: "busy" }));
    gate.resolve("at last");
    assert.deepEqual((await Promise.all(held)).map((r) => r.text()), Array(3).fill("at last"));
    assert.equal(seen.length, 3);
  });
});

describe("many at once", () => {
  test("200 calls, each with its own answer", async (t) => {
    let most = 0;
    let now = 0;
    const handler = async (call) => {
      most = Math.max(most, ++now);
      await new Promise(setImmediate);
      --now;
      return { hash: sha(call.data), trace: call.trace };
    };
    const [one, two] = [await serving(t, bob, handler, { slots: 256 }), await serving(t, bob, handler, { slots: 256 })];
    const results = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const data = randomBytes(1000 + i);
        const result = await alice.call("bob", data, { timeoutMs: 60_000 });
        return result.json().hash === sha(data) && result.json().trace === result.trace;
      }),
    );
    assert.deepEqual(results, Array(200).fill(true));
    assert.equal(one.seen.length + two.seen.length, 200);
    assert.ok(one.seen.length > 0 && two.seen.length > 0, "two servers share them");
    assert.ok(most > 1, `${most} at a time`);
  });
});

describe("a call's end", () => {
  test("comes in states", async (t) => {
    await serving(t, bob, () => "x");
    const states = [];
    await alice.call("bob", "x", { onState: (s) => states.push(s) });
    assert.equal(states.at(-1), "ended");
    assert.ok(["open", "ended"].join().endsWith(states.join()), states.join());
  });
  test("when its time is over, at both sides", async (t) => {
    const { seen } = await serving(t, bob, (call) => aborted(call.signal));
    const began = Date.now();
    await assert.rejects(alice.call("bob", "x", { timeoutMs: 1_000 }), fails({ code: "timeout", reason: "timeout" }));
    const took = Date.now() - began;
    assert.ok(took >= 990 && took < 4_000, `${took} ms`);
    await within("the handler to hear of it", aborted(seen[0].signal));
    assert.match(String(seen[0].signal.reason), /cancelled/);
  });
  test("by its signal: at once here, and at the callee", async (t) => {
    const { seen, errors } = await serving(t, bob, async (call) => {
      await aborted(call.signal);
      return "too late";
    });
    const stop = new AbortController();
    const trace = randomBytes(16).toString("hex");
    const call = alice.call("bob", "x", { signal: stop.signal, trace });
    await until("it to run", () => seen.length === 1);
    const began = Date.now();
    stop.abort(new Error("changed my mind"));
    await assert.rejects(call, /changed my mind/);
    assert.ok(Date.now() - began < 1_000, "the caller does not wait for it");
    await within("the handler to hear of it", aborted(seen[0].signal), CANCELLED_WITHIN);
    for (const who of [alice, bob]) {
      await until("the daemon to know", async () => (await who.calls()).find((c) => c.trace === trace)?.outcome === "cancelled");
    }
    assert.deepEqual(errors, [], "and an answer that nobody waits for is no error");
    assert.equal((await alice.call("bob", "y", { timeoutMs: 1_000 }).catch((e) => e)).reason, "timeout", "its place is free");
  });
  test("by the signal of its agent", async (t) => {
    const { seen } = await serving(t, bob, (call) => aborted(call.signal));
    const stop = new AbortController();
    const other = agent("alice", { signal: stop.signal });
    const calls = [other.call("bob", "1"), other.call("bob", "2")];
    await until("both to run", () => seen.length === 2);
    stop.abort();
    for (const call of calls) await assert.rejects(call, { name: "AbortError" });
    await within("both handlers to hear of it", Promise.all(seen.map((c) => aborted(c.signal))), CANCELLED_WITHIN);
  });
  test("before it began: nothing is opened", async (t) => {
    const { seen } = await serving(t, bob, () => "x");
    const before = (await alice.calls()).length;
    await assert.rejects(alice.call("bob", "x", { signal: AbortSignal.abort() }), { name: "AbortError" });
    await alice.call("bob", "y");
    assert.equal((await alice.calls()).length, before + 1);
    assert.deepEqual(seen.map((c) => c.text()), ["y"]);
  });
  test("while it is opened: no caller is left over", async (t) => {
    const { seen } = await serving(t, bob, (call) => aborted(call.signal), { slots: 64 });
    const trace = randomBytes(16).toString("hex");
    for (let i = 0; i < 20; ++i) {
      const stop = new AbortController();
      const end = assert.rejects(alice.call("bob", "x", { signal: stop.signal, trace }), { name: "AbortError" });
      for (let turns = 0; turns < i; ++turns) await new Promise(setImmediate);
      stop.abort();
      await end;
    }
    await until("all of them to be over", async () => (await alice.calls()).every((c) => c.trace !== trace || c.outcome === "cancelled"), CANCELLED_WITHIN);
    await within("the callee to hear of it", Promise.all(seen.map((c) => aborted(c.signal))), CANCELLED_WITHIN);
  });
});

test("carol, who knows dave alone, is not called by alice either", async () => {
  assert.deepEqual((await alice.peers()).peers.map((p) => [p.name, p.right, p.state, p.verified, p.source]), [["bob", "may_open", "ok", true, "agreement"]]);
  assert.deepEqual((await carol.peers()).peers.map((p) => p.name), ["dave"]);
  const info = await alice.info();
  assert.deepEqual([info.name, info.session.up, info.peers.usable, info.lastError === null || typeof info.lastError.message], ["alice", true, 1, true]);
});
