// Daemons that are killed in the middle, and come back.
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";

import { aborted, alice, bob, control, dave, fails, refuses, serving, until, within } from "./lab.js";

const killed = new Set();
const kill = async (name) => {
  killed.add(name);
  await control("kill", name);
};
const start = async (name) => {
  await control("start", name);
  killed.delete(name);
};
// A test that failed half-way leaves the next what it needs.
afterEach(async () => {
  for (const name of killed) await start(name);
});

describe("the callee's daemon is killed", () => {
  test("its server's handler hears of it, waits, and serves again", async (t) => {
    const { server, seen, errors, states } = await serving(t, bob, (call) => (call.text() === "wait" ? aborted(call.signal) : "here again"));
    const end = alice.call("bob", "wait", { timeoutMs: 60_000 }).then(() => assert.fail("it was answered"), (error) => error);
    await until("it to run", () => seen.length === 1);
    await kill("bob");
    await within("the handler to hear of it", aborted(seen[0].signal), 5);
    await until("the server to be away", () => server.state === "away", 5);
    assert.deepEqual(errors.map(([error, of]) => [error.code, of]), [["unreachable", undefined]]);
    await assert.rejects(bob.info(), refuses("unreachable"));
    await start("bob");
    const { reason } = await within("the end of the call", end, 60);
    assert.ok(["unknown_call", "peer_silent", "stream_reset"].includes(reason), reason);
    await until("the server to be back", () => server.state === "serving", 10);
    assert.equal((await alice.call("bob", "x")).text(), "here again");
    assert.deepEqual(states, ["away", "serving"]);
    assert.deepEqual([seen.length, errors.length], [2, 1]);
  });
  test("again and again, and a server that is closed meanwhile ends", async (t) => {
    const { server, states } = await serving(t, bob, () => "x");
    for (let i = 1; i <= 3; ++i) {
      await kill("bob");
      await until("the server to be away", () => server.state === "away", 5);
      await start("bob");
      await until("the server to be back", () => server.state === "serving", 10);
    }
    assert.equal((await alice.call("bob", "x")).text(), "x");
    await kill("bob");
    await until("the server to be away", () => server.state === "away", 5);
    await within("it to be closed", server.close(), 5);
    assert.deepEqual(states, [...Array(3).fill(["away", "serving"]).flat(), "away", "closing", "closed"]);
  });
});

describe("the caller's own daemon is killed", () => {
  test("its calls say so, and the next daemon is found", async (t) => {
    const { seen } = await serving(t, bob, (call) => (call.text() === "wait" ? aborted(call.signal) : "here"));
    await alice.calls(); // so that there is a kept connection
    const calls = ["wait", "wait"].map((what) => alice.call("bob", what, { timeoutMs: 60_000 }));
    const ends = Promise.allSettled(calls);
    await until("both to run", () => seen.length === 2);
    await kill("alice");
    for (const { reason } of await within("their ends", ends, 10)) {
      fails({ code: "unreachable", reason: "daemon_gone", call: null })(reason);
      assert.match(reason.message, /not known/);
    }
    await assert.rejects(alice.call("bob", "x"), refuses("unreachable"));
    await start("alice");
    // The same object, over a new connection; and bob's daemon is to see at once that this one is another.
    assert.equal((await alice.call("bob", "x", { timeoutMs: 10_000 })).text(), "here");
    await within("the callee to hear of it", Promise.all(seen.slice(0, 2).map((c) => aborted(c.signal))), 60);
  });
});

test("a reader of messages is told, and not left waiting", async () => {
  const end = assert.rejects(dave.messages().next(), refuses("unreachable"));
  await dave.info();
  await kill("dave");
  await within("an error", end, 5);
});
