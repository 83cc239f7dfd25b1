// Calls from the callee's side: answers, failures, places, and servers that come and go.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { CallFailure } from "@sluice/client";

import { aborted, agent, alice, bob, fails, later, MIB, serving, sockets, unserved, until, within } from "./lab.js";

function program(t, name, environment) {
  const child = spawn(process.execPath, [fileURLToPath(new URL(name, import.meta.url))], { env: { ...process.env, ...environment }, stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

describe("an answer", () => {
  const answers = {
    "a text": ["grün", Buffer.from("grün")],
    bytes: [Uint8Array.of(0, 255), Buffer.of(0, 255)],
    "an object": [{ a: 1 }, Buffer.from('{"a":1}')],
    "a list": [[1, 2], Buffer.from("[1,2]")],
    nothing: [undefined, Buffer.alloc(0)],
  };
  for (const [what, [answer, expected]] of Object.entries(answers)) {
    test(what, async (t) => {
      const { errors } = await serving(t, bob, () => answer);
      assert.deepEqual((await alice.call("bob")).data, expected);
      assert.deepEqual(errors, []);
    });
  }
});

describe("a handler that fails", () => {
  const outcomes = {
    "throws: nothing of it leaves": [() => { throw new Error("the password is tiger"); }, { code: "call_failed", reason: "exit_status", status: 1, data: "" }, "the password is tiger"],
    "rejects": [async () => { throw new Error("tiger"); }, { code: "call_failed", reason: "exit_status", status: 1, data: "" }, "tiger"],
    "throws what is no error": [() => { throw "tiger"; }, { code: "call_failed", reason: "exit_status", status: 1, data: "" }, "tiger"],
    "chooses its status and its words": [() => { throw new CallFailure(7, { why: "closed on Sundays" }); }, { code: "call_failed", reason: "exit_status", status: 7, data: '{"why":"closed on Sundays"}' }],
    "answers with too much": [() => Buffer.alloc(16 * MIB + 1), { code: "call_failed", reason: "response_too_large", status: 514, data: "" }, "16777217 bytes"],
    "answers with what is no data": [() => new Map(), { code: "call_failed", reason: "exit_status", status: 1, data: "" }, "a Map"],
    "answers with null": [() => null, { code: "call_failed", reason: "exit_status", status: 1, data: "" }, "null"],
  };
  for (const [what, [handler, expected, reported]] of Object.entries(outcomes)) {
    test(what, async (t) => {
      const { seen, errors } = await serving(t, bob, handler);
      await assert.rejects(alice.call("bob", "x"), (error) => {
        assert.deepEqual({ code: error.code, reason: error.reason, status: error.call.status, data: error.text() }, expected);
        assert.doesNotMatch(JSON.stringify([error.message, error.hint, error.call]), /tiger/);
        return true;
      });
      assert.equal(errors.length, reported === undefined ? 0 : 1);
      if (reported !== undefined) {
        assert.ok(String(errors[0][0]).includes(reported), String(errors[0][0]));
        assert.equal(errors[0][1], seen[0]);
      }
    });
  }
  test("goes on serving", async (t) => {
    await serving(t, bob, (call) => {
      if (call.text() === "fail") throw new Error("as asked");
      return "fine";
    }, { slots: 4 });
    for (let i = 0; i < 10; ++i) {
      await assert.rejects(alice.call("bob", "fail"), fails({ reason: "exit_status" }));
      assert.equal((await alice.call("bob", "x")).text(), "fine");
    }
  });
});

describe("closing", () => {
  test("waits for what runs, takes no more, and leaves nothing behind", async (t) => {
    const gate = later();
    const { server, seen, states } = await serving(t, bob, async () => (await gate.promise, "done in peace"));
    const call = alice.call("bob", "first");
    await until("it to run", () => seen.length === 1);
    let closed = false;
    const closing = server.close().then(() => (closed = true));
    assert.equal(server.close(), server.close());
    await until("the daemon to give it no more", () => unserved(alice, "bob"), 3);
    assert.deepEqual([seen.length, closed, server.state, server.running], [1, false, "closing", 1]);
    gate.resolve();
    assert.equal((await call).text(), "done in peace");
    await within("it to be closed", closing, 5);
    assert.deepEqual([server.state, server.running, states.join()], ["closed", 0, "closing,closed"]);
    assert.ok(await unserved(alice, "bob"), "nobody serves");
    assert.equal(seen.length, 1);
  });
  test("hears of a cancellation meanwhile", async (t) => {
    const { server, seen } = await serving(t, bob, () => new Promise(() => {}));
    const end = assert.rejects(alice.call("bob", "x", { timeoutMs: 1_500 }), fails({ reason: "timeout" }));
    await until("it to run", () => seen.length === 1);
    const closing = server.close();
    await end;
    await within("it to be closed", closing, 5);
    assert.equal(seen[0].signal.aborted, true);
  });
  test("with abort: the caller is told, however long the handler goes on", async (t) => {
    const { server, seen, errors } = await serving(t, bob, () => new Promise(() => {}));
    const end = assert.rejects(alice.call("bob", "x"), fails({ code: "call_failed", reason: "server_gone" }));
    await until("it to run", () => seen.length === 1);
    await within("it to be closed", server.close({ abort: true }), 5);
    await end;
    assert.ok(await unserved(alice, "bob"), "nobody serves");
    assert.equal(seen[0].signal.aborted, true);
    assert.deepEqual(errors, []);
  });
  test("with abort after all", async (t) => {
    const { server, seen } = await serving(t, bob, () => new Promise(() => {}));
    const call = alice.call("bob", "x");
    await until("it to run", () => seen.length === 1);
    const closing = server.close();
    await assert.rejects(Promise.all([call, server.close({ abort: true })]), fails({ reason: "server_gone" }));
    await within("it to be closed", closing, 5);
  });
  test("by a signal", async (t) => {
    const stop = new AbortController();
    const { server, seen } = await serving(t, bob, () => new Promise(() => {}), { signal: stop.signal });
    const call = alice.call("bob", "x");
    await until("it to run", () => seen.length === 1);
    stop.abort();
    await assert.rejects(call, fails({ reason: "server_gone" }));
    await until("it to be closed", () => server.state === "closed", 5);
  });
  test("by the signal of its agent", async () => {
    const stop = new AbortController();
    const server = await agent("bob", { signal: stop.signal }).serve(() => "x");
    stop.abort();
    await until("it to be closed", () => server.state === "closed", 5);
  });
});

describe("a server", () => {
  test("that is idle for longer than its lease is still there", async (t) => {
    const { seen, states } = await serving(t, bob, () => "still here");
    // The daemon forgets a server that has not asked for 15 s.
    await new Promise((done) => setTimeout(done, 17_000));
    assert.equal((await alice.call("bob", "x")).text(), "still here");
    assert.deepEqual([seen.length, states], [1, []]);
  });
  test("whose handler takes longer than its lease, too", async (t) => {
    const { errors } = await serving(t, bob, () => new Promise((done) => setTimeout(done, 16_500, "slow, but here")));
    assert.equal((await alice.call("bob", "x", { timeoutMs: 60_000 })).text(), "slow, but here");
    assert.deepEqual(errors, []);
  });
  test("that is killed ends its calls", async (t) => {
    assert.ok(await unserved(alice, "bob"), "nobody serves yet");
    const child = program(t, "programs/hold.js", { SLUICE_SOCKET: sockets.bob });
    await within("it to serve", once(child.stdout, "data"));
    const call = alice.call("bob", "x");
    await within("it to run", once(child.stdout, "data"));
    child.kill("SIGKILL");
    await assert.rejects(within("the end of the call", call, 10), fails({ code: "call_failed", reason: "server_gone" }));
    await assert.rejects(alice.call("bob", "x"), fails({ code: "unreachable", reason: "not_served" }));
  });
  test("hears that its caller was killed", async (t) => {
    const { seen } = await serving(t, bob, (call) => aborted(call.signal));
    const child = program(t, "programs/call.js", { SLUICE_SOCKET: sockets.alice });
    await until("it to run", () => seen.length === 1);
    child.kill("SIGKILL");
    // If it died between two questions, the daemon waits for the next for 10 s.
    await within("the handler to hear of it", aborted(seen[0].signal), 15);
  });
  test("that is not closed does not keep its place when its process ends", async (t) => {
    const child = program(t, "programs/hold.js", { SLUICE_SOCKET: sockets.bob });
    await within("it to serve", once(child.stdout, "data"));
    child.stdin.end();
    await within("the process to end", once(child, "exit"), 5);
    await until("nobody to serve", () => unserved(alice, "bob"), 5);
  });
});

describe("the examples", () => {
  test("talk to each other", async (t) => {
    const home = (name) => ({ XDG_STATE_HOME: `${process.env.SLUICE_HOMES}/${name}` });
    const server = program(t, "../examples/server.js", home("bob"));
    await within("it to serve", once(server.stdout, "data"));
    const script = fileURLToPath(new URL("../examples/caller.js", import.meta.url));
    const caller = spawn(process.execPath, [script, "bob", "hello"], { env: { ...process.env, ...home("alice") } });
    let said = "";
    caller.stdout.on("data", (d) => (said += d));
    const [status] = await within("its end", once(caller, "exit"), 10);
    assert.deepEqual([status, said], [0, "alice said HELLO\n"]);
    server.kill("SIGINT");
    assert.deepEqual((await within("the server's end", once(server, "exit"), 5))[0], 0);
  });
});
