// Messages: their order, their bytes, and that none is lost with a reader that leaves.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { agent, alice, carol, dave, refuses, sockets, until, within } from "./lab.js";

/** So many of the messages that come. */
async function take(count, reader) {
  const out = [];
  for await (const message of reader) {
    out.push(message);
    if (out.length === count) break;
  }
  return out;
}
const texts = (messages) => messages.map((m) => m.text());
const numbered = (what, count, from = 0) => Array.from({ length: count }, (_, i) => `${what} ${from + i}`);

describe("messages", () => {
  test("come in order, with their bytes and who sent them", async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    assert.equal(await carol.send("dave", ["grün €", bytes, { a: [1] }, ""]), 4);
    const [text, binary, object, empty] = await within("four", take(4, dave.messages()));
    assert.equal(text.text(), "grün €");
    assert.deepEqual([...binary.data], [...bytes]);
    assert.deepEqual(object.json(), { a: [1] });
    assert.equal(empty.data.length, 0);
    assert.deepEqual(text.peer, { did: (await carol.info()).did, name: "carol" });
    assert.deepEqual([text, binary, object, empty].map((m) => m.lostBefore), [0, 0, 0, 0]);
  });
  test("2,000 of them, in batches and one by one", async () => {
    const reading = take(2_000, dave.messages());
    for (let i = 0; i < 19; ++i) await carol.send("dave", numbered("m", 100, i * 100));
    for (const one of numbered("m", 100, 1_900)) await carol.send("dave", one);
    assert.deepEqual(texts(await within("all of them", reading, 60)), numbered("m", 2_000));
  });
  test("both ways, of one peer alone", async () => {
    await dave.send("carol", "back");
    const { did, address } = await dave.info();
    assert.deepEqual(texts(await within("it", take(1, carol.messages({ peer: "dave" })))), ["back"]);
    for (const peer of [did, address]) {
      await dave.send("carol", peer);
      assert.deepEqual(texts(await within("it", take(1, carol.messages({ peer })))), [peer]);
    }
    await assert.rejects(carol.messages({ peer: "nosuch" }).next(), refuses("not_found"));
  });
  test("none of a list leaves when one is too long", async () => {
    const { session } = await carol.info();
    await assert.rejects(carol.send("dave", ["fits", Buffer.alloc(session.maxMessage + 1)]), refuses("too_large"));
    assert.equal(await carol.send("dave", Buffer.alloc(session.maxMessage, "x")), 1);
    const [first] = await within("it", take(1, dave.messages()));
    assert.equal(first.data.length, session.maxMessage, "what fits is not sent before");
  });
  test("are not sent to who is not a peer, or takes calls alone", async () => {
    await assert.rejects(carol.send("nosuch", "x"), refuses("not_found"));
    await assert.rejects(alice.send("bob", "x"), refuses("refused"));
    assert.equal(await carol.send("dave", []), 0);
  });
});

describe("a reader that leaves", () => {
  test("leaves the rest to the next", async () => {
    await carol.send("dave", numbered("left", 10));
    assert.deepEqual(texts(await within("one", take(1, dave.messages()))), ["left 0"]);
    assert.deepEqual(texts(await within("four of carol's", take(4, dave.messages({ peer: "carol" })))), numbered("left", 4, 1));
    assert.deepEqual(texts(await within("the others", take(5, dave.messages()))), numbered("left", 5, 5));
  });
  test("while it waits loses nothing that comes then", async () => {
    for (const peer of [undefined, "carol"]) {
      const stop = new AbortController();
      const reader = dave.messages({ peer, signal: stop.signal });
      const next = reader.next();
      await until("the daemon to be asked", async () => (await dave.info()).counters.inboxWaiting === 0);
      stop.abort(new Error("enough"));
      await assert.rejects(next, /enough/);
      assert.deepEqual(await reader.next(), { value: undefined, done: true });
      await carol.send("dave", `to ${peer ?? "whoever"} reads next`);
      assert.deepEqual(texts(await within("it", take(1, dave.messages({ peer })))), [`to ${peer ?? "whoever"} reads next`]);
    }
  });
  test("does not hold its process, and with it the daemon keeps what comes", async (t) => {
    const script = fileURLToPath(new URL("programs/leave.js", import.meta.url));
    const child = spawn(process.execPath, [script], { env: { ...process.env, SLUICE_SOCKET: sockets.dave } });
    t.after(() => child.kill("SIGKILL"));
    let said = "";
    child.stdout.on("data", (d) => (said += d));
    const [status] = await within("its end", once(child, "exit"), 5);
    assert.deepEqual([status, said], [0, "AbortError\n"]);
    await carol.send("dave", "for the living");
    assert.deepEqual(texts(await within("it", take(1, dave.messages()))), ["for the living"]);
  });
  test("with its agent's signal", async () => {
    const stop = new AbortController();
    const next = agent("dave", { signal: stop.signal }).messages().next();
    stop.abort();
    await assert.rejects(next, { name: "AbortError" });
  });
});

test("two readers share: each message goes to one of them", async (t) => {
  const reader = agent("dave");
  const stop = new AbortController();
  t.after(() => stop.abort());
  const got = [[], []];
  const reading = got.map(async (list) => {
    for await (const message of reader.messages({ signal: stop.signal })) list.push(message.text());
  });
  await carol.send("dave", numbered("shared", 500));
  await until("all of them", () => got[0].length + got[1].length >= 500);
  stop.abort();
  for (const r of reading) await assert.rejects(r, { name: "AbortError" });
  assert.deepEqual([...got[0], ...got[1]].sort(), numbered("shared", 500).sort());
});
