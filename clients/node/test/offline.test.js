// What needs no agent: arguments, where the daemon is looked for, and a daemon that answers what none should.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";

import { Agent, CallFailure, SluiceError } from "@sluice/client";

const MIB = 1024 * 1024;
const code = (expected, pattern = /./) => (error) => {
  assert.ok(error instanceof SluiceError, `${error} is not a SluiceError`);
  assert.equal(error.code, expected, error.message);
  assert.match(error.message, pattern);
  return true;
};

let folder;
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), "sluice-client-"))));
afterEach(() => rmSync(folder, { recursive: true }));

/** A daemon that answers as `answer` says, with what it was asked. */
async function daemon(answer) {
  const asked = [];
  const socket = path.join(folder, "agent.sock");
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on("data", (c) => chunks.push(c));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      asked.push(`${request.method} ${request.url}`);
      answer(`${request.method} ${request.url.split("?")[0]}`, response, body && JSON.parse(body), request);
    });
  });
  await new Promise((done) => server.listen(socket, done));
  const close = () => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  return { agent: new Agent({ socket }), asked, close, server };
}

const say = (response, value, status = 200) => {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(value));
};

describe("where the daemon is", () => {
  const from = (environment, options) => {
    const before = { ...process.env };
    Object.assign(process.env, environment);
    for (const [k, v] of Object.entries(environment)) if (v === undefined) delete process.env[k];
    try {
      return new Agent(options).socket;
    } finally {
      Object.assign(process.env, before);
    }
  };
  test("by the rule of sluice-agent", () => {
    assert.equal(from({ XDG_STATE_HOME: "/xdg", HOME: "/home/a" }), "/xdg/sluice-agent/agent.sock");
    assert.equal(from({ XDG_STATE_HOME: "relative", HOME: "/home/a" }), "/home/a/.local/state/sluice-agent/agent.sock");
    assert.equal(from({ XDG_STATE_HOME: undefined, HOME: "/home/a" }), "/home/a/.local/state/sluice-agent/agent.sock");
    assert.throws(() => from({ XDG_STATE_HOME: undefined, HOME: undefined }), code("usage", /state folder/));
  });
  test("or as it is told", () => {
    assert.equal(new Agent({ state: "/a" }).socket, "/a/agent.sock");
    assert.equal(new Agent({ socket: "/a/b.sock" }).socket, "/a/b.sock");
    assert.throws(() => new Agent({ state: "/a", socket: "/b" }), code("usage", /not both/));
    assert.throws(() => new Agent({ socket: "/" + "x".repeat(107) }), code("usage", /107 bytes/));
    assert.equal(new Agent({ socket: "/" + "x".repeat(106) }).socket.length, 107);
  });
  test("nobody there is one clear sentence", async () => {
    const nobody = new Agent({ state: folder });
    for (const ask of [() => nobody.call("bob", "x"), () => nobody.serve(() => "x"), () => nobody.info(), () => nobody.send("bob", "x")]) {
      await assert.rejects(ask, code("unreachable", /no agent's daemon answers on .*agent\.sock: start it with sluice-agent up/));
    }
    await assert.rejects(nobody.messages().next(), code("unreachable"));
  });
});

describe("arguments that cannot be right never reach the daemon", () => {
  const wrong = {
    "no peer": (a) => a.call("", "x"),
    "a peer that is no text": (a) => a.call(7, "x"),
    "a number as data": (a) => a.call("bob", 7),
    "null as data": (a) => a.call("bob", null),
    "a promise as data": (a) => a.call("bob", Promise.resolve("x")),
    "a map as data": (a) => a.call("bob", new Map([["a", 1]])),
    "a function as data": (a) => a.call("bob", () => "x"),
    "a capability that is none": (a) => a.call("bob", "x", { capability: "fly" }),
    "a protocol that is none": (a) => a.call("bob", "x", { protocol: "http" }),
    "a service beyond 16 bits": (a) => a.call("bob", "x", { service: 65_536 }),
    "half a service": (a) => a.call("bob", "x", { service: 0.5 }),
    "no time": (a) => a.call("bob", "x", { timeoutMs: 0 }),
    "more than an hour": (a) => a.call("bob", "x", { timeoutMs: 3_600_001 }),
    "a time that is a text": (a) => a.call("bob", "x", { timeoutMs: "5" }),
    "a trace too short": (a) => a.call("bob", "x", { trace: "ab".repeat(15) }),
    "a trace in capitals": (a) => a.call("bob", "x", { trace: "AB".repeat(16) }),
    "a trace of zeros": (a) => a.call("bob", "x", { trace: "00".repeat(16) }),
    "a key that is no hex": (a) => a.call("bob", "x", { idempotencyKey: "xy".repeat(16) }),
    "five scopes": (a) => a.call("bob", "x", { scopes: ["a", "b", "c", "d", "e"] }),
    "an empty scope": (a) => a.call("bob", "x", { scopes: [""] }),
    "a long scope": (a) => a.call("bob", "x", { scopes: ["x".repeat(65)] }),
    "scopes that are no list": (a) => a.call("bob", "x", { scopes: "reading" }),
    "a listener that is none": (a) => a.call("bob", "x", { onState: "yes" }),
    "no handler": (a) => a.serve(),
    "no slots": (a) => a.serve(() => "x", { slots: 0 }),
    "too many slots": (a) => a.serve(() => "x", { slots: 257 }),
    "an error listener that is none": (a) => a.serve(() => "x", { onError: 1 }),
    "a message that is a number": (a) => a.send("bob", ["x", 7]),
    "a reader of nobody": (a) => a.messages({ peer: "" }).next(),
    "trust without a reason": (a) => a.requestTrust("bob", ""),
    "a right that is none": (a) => a.requestTrust("bob", "why", { right: "may_all" }),
    "a quota of nothing": (a) => a.approve("bob", { quota: { calls: 0, seconds: 1 } }),
    "half a quota": (a) => a.approve("bob", { quota: { calls: 1 } }),
    "a visibility that is none": (a) => a.setVisibility("hidden"),
  };
  for (const [what, ask] of Object.entries(wrong)) {
    test(what, async (t) => {
      const d = await daemon((_, response) => say(response, {}));
      t.after(d.close);
      await assert.rejects(async () => ask(d.agent), code("usage"));
      assert.deepEqual(d.asked, []);
    });
  }
  test("more than 16 MiB", async (t) => {
    const d = await daemon((_, response) => say(response, {}));
    t.after(d.close);
    await assert.rejects(d.agent.call("bob", Buffer.alloc(16 * MIB + 1)), code("too_large", /16777217 bytes/));
    await assert.rejects(d.agent.send("bob", Array(17).fill("x".repeat(MIB))), code("too_large"));
    await assert.rejects(d.agent.send("bob", Array(65_537).fill("x")), code("too_large"));
    assert.deepEqual(d.asked, []);
  });
  test("a failure's status is 1 to 255", () => {
    for (const status of [0, 256, 1.5, "1", undefined]) assert.throws(() => new CallFailure(status), code("usage"));
    assert.deepEqual(new CallFailure(255, { a: 1 }).data.toString(), '{"a":1}');
  });
});

describe("bytes of what is sent", () => {
  const values = {
    text: ["grün €", Buffer.from("grün €")],
    nothing: [undefined, Buffer.alloc(0)],
    "an empty text": ["", Buffer.alloc(0)],
    bytes: [Uint8Array.of(0, 255, 10), Buffer.of(0, 255, 10)],
    "a part of other bytes": [new Uint8Array([1, 2, 3, 4]).subarray(1, 3), Buffer.of(2, 3)],
    "numbers of two bytes": [Uint16Array.of(0x0102), Buffer.of(2, 1)],
    "an ArrayBuffer": [Uint8Array.of(9, 8).buffer, Buffer.of(9, 8)],
    "an object": [{ a: [1, null] }, Buffer.from('{"a":[1,null]}')],
    "an object without a prototype": [Object.assign(Object.create(null), { a: 1 }), Buffer.from('{"a":1}')],
    "an array": [[1, "two"], Buffer.from('[1,"two"]')],
    "what knows its JSON": [new Date(0), Buffer.from('"1970-01-01T00:00:00.000Z"')],
  };
  for (const [what, [value, expected]] of Object.entries(values)) {
    test(what, async (t) => {
      let came;
      const d = await daemon((_, response, body) => {
        came = Buffer.from(body.data, "base64");
        say(response, { error: { code: "refused", message: "that is all" } }, 403);
      });
      t.after(d.close);
      await assert.rejects(d.agent.call("bob", value), code("refused"));
      assert.deepEqual(came, expected);
    });
  }
});

describe("a daemon that answers what none should", () => {
  const answers = {
    "what is not JSON": [(r) => r.end("<html>"), "internal", /not JSON/],
    "an error of no form": [(r) => r.writeHead(500).end("oops"), "internal", /status 500 .*oops/],
    "an error that is an array": [(r) => say(r, [], 503), "internal", /status 503/],
    "more than it may": [(r) => r.end(Buffer.alloc(64 * MIB + 1, "x")), "internal", /larger than/],
    "half of it": [(r) => (r.writeHead(200, { "Content-Length": 100 }), r.write("{"), setImmediate(() => r.destroy())), "unreachable", /closed the connection/],
    "nothing": [(r) => r.destroy(), "unreachable", /closed the connection/],
  };
  for (const [what, [answer, expected, pattern]] of Object.entries(answers)) {
    test(what, async (t) => {
      const d = await daemon((_, response) => answer(response));
      t.after(d.close);
      await assert.rejects(d.agent.info(), code(expected, pattern));
    });
  }
  test("its errors are told as they are", async (t) => {
    const d = await daemon((_, response) => say(response, { error: { code: "not_found", message: "nobody is called bob" } }, 404));
    t.after(d.close);
    await assert.rejects(d.agent.call("bob", "x"), code("not_found", /^nobody is called bob$/));
  });
  test("fields have names as JavaScript writes them, texts stay", async (t) => {
    const d = await daemon((_, response) => say(response, { started_ms: 5, key_log: null, revocations: [{ issued_ms: 1 }], name: "a_b" }));
    t.after(d.close);
    assert.deepEqual(await d.agent.info(), { startedMs: 5, keyLog: null, revocations: [{ issuedMs: 1 }], name: "a_b" });
  });
});

describe("connections", () => {
  test("are kept, and one that the daemon had closed is replaced", async (t) => {
    const sockets = new Set();
    const d = await daemon((_, response, __, request) => {
      sockets.add(request.socket);
      say(response, { calls: [] });
    });
    t.after(d.close);
    for (let i = 0; i < 5; ++i) await d.agent.calls();
    assert.equal(sockets.size, 1, "one after the other go over one");
    // In the same turn: the client cannot have heard of it yet.
    const [kept] = sockets;
    kept.destroy();
    assert.deepEqual(await d.agent.calls(), []);
    assert.equal(d.asked.length, 6, "and it was asked once");
  });
  test("a request that the daemon may have acted upon is not sent twice", async (t) => {
    let asked = 0;
    const d = await daemon((_, response) => (++asked === 1 ? say(response, { calls: [] }) : response.destroy()));
    t.after(d.close);
    await d.agent.calls();
    await assert.rejects(d.agent.call("bob", "x"), code("unreachable", /closed the connection/));
    assert.deepEqual(d.asked, ["GET /v1/calls", "POST /v1/calls"]);
  });
  test("many that wait do not hold up what does not", async (t) => {
    let next = 0;
    const waiting = [];
    const d = await daemon((what, response) => {
      if (what === "POST /v1/calls") return say(response, { call: String(++next).padStart(16, "0") });
      if (what === "GET /v1/calls/wait") return waiting.push(response);
      say(response, { calls: [] });
    });
    t.after(d.close);
    const stop = new AbortController();
    const calls = Array.from({ length: 300 }, () => d.agent.call("bob", "x", { signal: stop.signal }));
    const ends = Promise.allSettled(calls);
    while (next < 300) await new Promise(setImmediate);
    assert.deepEqual(await d.agent.calls(), []);
    assert.ok(waiting.length <= 128, `${waiting.length} connections wait`);
    stop.abort();
    assert.deepEqual(new Set((await ends).map((e) => e.reason)), new Set([stop.signal.reason]));
  });
  test("of more calls than connections each is asked for in its turn", async (t) => {
    const last = new Map(); // when it was asked for last, or opened
    const asked = new Set();
    let next = 0;
    let longest = 0;
    const d = await daemon((what, response, _, request) => {
      if (what === "POST /v1/calls") {
        const call = String(++next).padStart(16, "0");
        last.set(call, Date.now());
        return say(response, { call });
      }
      if (what !== "GET /v1/calls/wait") return say(response, {});
      const query = new URLSearchParams(request.url.split("?")[1]);
      const call = query.get("call");
      asked.add(call);
      longest = Math.max(longest, Date.now() - last.get(call));
      const timer = setTimeout(() => {
        last.set(call, Date.now());
        say(response, { state: "opening" });
      }, Number(query.get("wait_ms")));
      response.on("close", () => clearTimeout(timer));
    });
    t.after(d.close);
    const stop = new AbortController();
    const calls = Array.from({ length: 1_000 }, () => d.agent.call("bob", "x", { signal: stop.signal }));
    const ends = Promise.allSettled(calls);
    await new Promise((done) => setTimeout(done, 14_000));
    stop.abort();
    await ends;
    assert.equal(asked.size, 1_000, "all were asked for");
    assert.ok(longest < 9_000, `one was left alone for ${longest} ms; the daemon gives it up after 10 s`);
  });
});

describe("what is given up", () => {
  const ID = "0123456789abcdef";
  test("the daemon is told of a call that is aborted", async (t) => {
    const stop = new AbortController();
    const told = new Promise((done) => {
      t.daemon = daemon((what, response) => {
        if (what === "POST /v1/calls") return say(response, { call: ID });
        if (what === "GET /v1/calls/wait") return stop.abort(new Error("enough"));
        say(response, {});
        done();
      });
    });
    const d = await t.daemon;
    t.after(d.close);
    await assert.rejects(d.agent.call("bob", "x", { signal: stop.signal }), /enough/);
    await told;
    assert.deepEqual(d.asked, ["POST /v1/calls", `GET /v1/calls/wait?call=${ID}&state=opening&wait_ms=4000`, `DELETE /v1/calls?call=${ID}`]);
  });
  test("also of one that was aborted while it was being opened", async (t) => {
    const stop = new AbortController();
    const told = new Promise((done) => {
      t.daemon = daemon((what, response) => {
        if (what === "POST /v1/calls") stop.abort();
        say(response, { call: ID });
        if (what === "DELETE /v1/calls") done();
      });
    });
    const d = await t.daemon;
    t.after(d.close);
    await assert.rejects(d.agent.call("bob", "x", { signal: stop.signal }), { name: "AbortError" });
    await told;
    assert.deepEqual(d.asked, ["POST /v1/calls", `DELETE /v1/calls?call=${ID}`]);
  });
  test("a call is not opened when its signal, or its agent's, is aborted already", async (t) => {
    const d = await daemon((_, response) => say(response, { call: ID }));
    t.after(d.close);
    await assert.rejects(d.agent.call("bob", "x", { signal: AbortSignal.abort() }), { name: "AbortError" });
    const ended = new Agent({ socket: d.agent.socket, signal: AbortSignal.abort() });
    for (const ask of [() => ended.call("bob", "x"), () => ended.serve(() => "x"), () => ended.info(), () => ended.messages().next(), () => ended.send("bob", "x")]) {
      await assert.rejects(ask, { name: "AbortError" });
    }
    assert.deepEqual(d.asked, []);
  });
  test("calls that wait for a connection are not opened any more", async (t) => {
    const held = [];
    const d = await daemon((what, response) => (what === "POST /v1/calls" ? held.push(response) : say(response, {})));
    t.after(d.close);
    const stop = new AbortController();
    const calls = Array.from({ length: 100 }, () => d.agent.call("bob", "x", { signal: stop.signal }));
    const ends = Promise.allSettled(calls);
    while (held.length < 32) await new Promise(setImmediate);
    stop.abort();
    await ends;
    for (const response of held) say(response, { call: ID });
    while (d.asked.filter((a) => a.startsWith("DELETE")).length < 32) await new Promise(setImmediate);
    assert.equal(d.asked.filter((a) => a.startsWith("POST")).length, 32);
  });
  test("a call whose listener throws", async (t) => {
    const d = await daemon((what, response) => {
      if (what === "POST /v1/calls") return say(response, { call: ID });
      say(response, { state: "open" });
    });
    t.after(d.close);
    const onState = () => {
      throw new Error("of the program");
    };
    await assert.rejects(d.agent.call("bob", "x", { onState }), /of the program/);
    while (d.asked.length < 3) await new Promise(setImmediate);
    assert.equal(d.asked[2], `DELETE /v1/calls?call=${ID}`);
  });
  test("one signal for many calls is no leak", async (t) => {
    const warnings = [];
    const warn = (w) => warnings.push(w.message);
    process.on("warning", warn);
    t.after(() => process.off("warning", warn));
    const d = await daemon((what, response) => {
      if (what === "POST /v1/calls") return say(response, { call: ID });
      say(response, { state: "ended", error: null, data: "" });
    });
    t.after(d.close);
    const stop = new AbortController();
    await Promise.all(Array.from({ length: 40 }, () => d.agent.call("bob", "x", { signal: stop.signal })));
    await new Promise(setImmediate);
    assert.deepEqual(warnings, []);
  });
});

describe("a server that is closed", () => {
  /** Holds questions until there is work, as the daemon does: a new question ends the one before with nothing. */
  async function asking() {
    let waiting;
    let work = [];
    const none = { calls: [], cancelled: [] };
    const d = await daemon((what, response, body, request) => {
      if (what === "POST /v1/serve/answer") d.answers.push([body.call, body.status, body.data]);
      if (what !== "GET /v1/serve") return say(response, {});
      if (waiting) say(waiting, none);
      waiting = undefined;
      const waits = !request.url.endsWith("wait_ms=0");
      if (waits && work.length === 0) {
        waiting = response;
        response.on("close", () => response.writableEnded || (d.broken = true));
        return;
      }
      say(response, { ...none, calls: work });
      work = [];
    });
    d.answers = [];
    d.broken = false;
    d.polled = async () => {
      while (!waiting) await new Promise(setImmediate);
    };
    d.later = (...calls) => (work = calls);
    return d;
  }
  const call = (id) => ({ call: id, from: "did:key:z6Mk", name: "alice", address: "1", verified: true, trace: "", scopes: [], data: "" });

  test("breaks no question off, and says that it leaves", async (t) => {
    const d = await asking();
    t.after(d.close);
    const server = await d.agent.serve(() => "x", { slots: 3 });
    await d.polled();
    await server.close();
    const id = /server=([0-9a-f]{16})&/.exec(d.asked[0])[1];
    const ask = (slots, wait) => `GET /v1/serve?server=${id}&slots=${slots}&wait_ms=${wait}`;
    assert.deepEqual(d.asked, [ask(3, 0), ask(3, 10_000), ask(0, 0), `DELETE /v1/serve?server=${id}`]);
    assert.equal(d.broken, false);
  });
  test("turns away what comes with its last question", async (t) => {
    const d = await asking();
    t.after(d.close);
    let handled = 0;
    const server = await d.agent.serve(() => String(++handled));
    await d.polled();
    d.later(call("c1"), call("c2"));
    await server.close();
    while (d.answers.length < 2) await new Promise(setImmediate);
    assert.deepEqual(d.answers.sort(), [["c1", 515, ""], ["c2", 515, ""]]);
    assert.equal(handled, 0);
  });
});
