// An identity that the operator revokes; after it nothing can be done with dave.
import assert from "node:assert/strict";
import { test } from "node:test";

import { aborted, carol, control, dave, serving, until, within } from "./lab.js";

test("a peer that is revoked is called no more, in the middle of a call and after it", async (t) => {
  const { seen } = await serving(t, dave, (call) => (call.text() === "wait" ? aborted(call.signal) : "trusted"));
  assert.equal((await carol.call("dave", "x")).text(), "trusted");
  const call = carol.call("dave", "wait", { timeoutMs: 60_000 });
  const end = call.then(() => assert.fail("it was answered"), (error) => error);
  await until("it to run", () => seen.length === 2);
  await control("revoke", "dave");
  const during = await within("the end of the call", end, 60);
  assert.ok(["edge_ended", "peer_silent", "revoked"].includes(during.reason), `${during.stack} ${during.reason}`);
  const after = await carol.call("dave", "x").then(() => assert.fail("it was answered"), (error) => error);
  assert.ok(["refused", "not_found"].includes(after.code), `${after.stack} ${after.code} ${after.reason}`);
  await until("carol to know why", async () => {
    const { revocations } = await carol.info();
    const { peers } = await carol.peers();
    return revocations.length === 1 || peers.every((p) => p.state !== "ok");
  });
  assert.equal(seen.length, 2, "nothing reached it");
});
