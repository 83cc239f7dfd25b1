// The agents of the lab that tests/system/node_client_test.py has set up, and what only it can do to them.
import assert from "node:assert/strict";
import net from "node:net";

import { Agent, CallError, SluiceError } from "@sluice/client";

export const MIB = 1024 * 1024;
export const names = ["alice", "bob", "carol", "dave"];
export const sockets = Object.fromEntries(names.map((n) => [n, process.env[`SLUICE_${n.toUpperCase()}`]]));

/** alice may call bob: tool_call and read, raw, scope payments. carol and dave may send messages to each other, and carol calls dave. */
export const agent = (name, options = {}) => new Agent({ socket: sockets[name], ...options });
export const [alice, bob, carol, dave] = names.map((n) => agent(n));

/** `kill`, `start` or `revoke` an agent; resolves when it is done. */
export function control(what, name) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(process.env.SLUICE_CONTROL);
    let answer = "";
    socket.on("data", (d) => (answer += d));
    socket.on("error", reject);
    socket.on("close", () => (answer === "done\n" ? resolve() : reject(new Error(`${what} ${name}: ${answer}`))));
    socket.end(`${what} ${name}\n`);
  });
}

/** Asks again and again until there is something true to return. */
export async function until(what, done, seconds = 15) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const result = await done();
    if (result) return result;
    if (Date.now() > end) assert.fail(`${what} did not happen within ${seconds} s`);
    await new Promise((next) => setTimeout(next, 20));
  }
}

export function within(what, promise, seconds = 15) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: `${what} did not happen within ${seconds} s` })), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A promise and what settles it. */
export function later() {
  const out = {};
  out.promise = new Promise((resolve, reject) => Object.assign(out, { resolve, reject }));
  return out;
}

export const aborted = (signal) => new Promise((done) => (signal.aborted ? done() : signal.addEventListener("abort", done)));

/** A server of `who` until the test `t` is over; `seen` has the calls it was handed. */
export async function serving(t, who, handler, options = {}) {
  const seen = [];
  const errors = [];
  const states = [];
  const server = await who.serve(
    (call) => {
      seen.push(call);
      return handler(call);
    },
    { onError: (error, call) => errors.push([error, call]), onState: (s) => states.push(s), ...options },
  );
  t.after(() => server.close({ abort: true }));
  return { server, seen, errors, states };
}

export const fails = (expected) => (error) => {
  assert.ok(error instanceof CallError, `${error.stack} is not a CallError`);
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((k) => [k, error[k]])), expected, error.message);
  return true;
};

export const refuses = (code) => (error) => {
  assert.ok(error instanceof SluiceError && !(error instanceof CallError), `${error.stack} is not what goes wrong before a call`);
  assert.equal(error.code, code, error.message);
  return true;
};

/** Whether nobody serves at `to`, as a call of `from` finds. */
export const unserved = (from, to) =>
  from.call(to, "is somebody there?").then(
    () => false,
    (error) => error.reason === "not_served",
  );
