// What the compiler takes and what it does not; nothing of this runs. It sees the package as its users do.
import { Agent, CallError, CallFailure, type CallResult, type Handler, type ServedCall, type SluiceError } from "@sluice/client";

interface Question {
  q: number;
}

const agent = new Agent();
new Agent({ state: "/somewhere" });
new Agent({ socket: "/somewhere/agent.sock", signal: AbortSignal.timeout(1000) });
// @ts-expect-error: no such option
new Agent({ path: "/somewhere" });

async function calls(): Promise<void> {
  const result: CallResult = await agent.call("bob", "hello");
  const data: Buffer = result.data;
  const trace: string = result.trace;
  const took: number = result.times.total;
  const accepted: number | null = result.times.accepted;
  const answer = result.json<{ sum: number }>();
  const sum: number = answer.sum;
  // @ts-expect-error: what a peer says has no type of its own
  result.json().sum;
  // @ts-expect-error: a result is not written to
  result.call = result.call;

  await agent.call("bob");
  await agent.call("bob", { a: 1 });
  const question: Question = { q: 1 };
  await agent.call("bob", question);
  // @ts-expect-error: a promise that nobody awaited
  await agent.call("bob", Promise.resolve("x"));
  await agent.call("bob", new Uint8Array(3), { capability: "read", protocol: "mcp", service: 1, scopes: ["a"], timeoutMs: 5, signal: undefined });
  await agent.call("bob", "x", { onState: (state) => state === "awaiting_approval" });
  // @ts-expect-error: nobody is called
  await agent.call();
  // @ts-expect-error: a number is no data
  await agent.call("bob", 7);
  // @ts-expect-error: null is none
  await agent.call("bob", null);
  // @ts-expect-error: no such capability
  await agent.call("bob", "x", { capability: "fly" });
  // @ts-expect-error: no such protocol
  await agent.call("bob", "x", { protocol: "http" });
  // @ts-expect-error: milliseconds are a number
  await agent.call("bob", "x", { timeoutMs: "5s" });
  // @ts-expect-error: no such state
  await agent.call("bob", "x", { onState: (state) => state === "done" });
}

async function serves(): Promise<void> {
  const server = await agent.serve((call) => call.data, { slots: 4, onError: (error, call) => call?.trace });
  await server.close();
  await server.close({ abort: true });
  await agent.serve(async (call: ServedCall) => {
    const did: string = call.peer.did;
    const verified: boolean = call.peer.verified;
    const signal: AbortSignal = call.signal;
    throw new CallFailure(3, { did, verified, aborted: signal.aborted });
  });
  await agent.serve(() => undefined);
  const handler: Handler = () => ({ a: 1 });
  await agent.serve(handler);
  // @ts-expect-error: a server is something that answers
  await agent.serve();
  // @ts-expect-error: a number is no answer
  await agent.serve(() => 7);
  // @ts-expect-error: nor is true
  await agent.serve(async () => true);
  // @ts-expect-error: a call's caller is not its name alone
  await agent.serve((call) => call.peer.toUpperCase());
  // @ts-expect-error: a status is a number
  new CallFailure("3");
  // @ts-expect-error: a server is made by serve
  new (server.constructor as typeof import("@sluice/client").Server)();
}

async function messages(): Promise<void> {
  const sent: number = await agent.send("bob", ["one", new Uint8Array(2), { three: 3 }]);
  await agent.send("bob", "one");
  for await (const message of agent.messages({ peer: "bob" })) {
    const text: string = message.text();
    const lost: number = message.lostBefore;
    // @ts-expect-error: messages are not answered
    message.reply("x");
  }
  // @ts-expect-error: not a message
  await agent.send("bob", 1);
}

async function rest(): Promise<void> {
  const { peers } = await agent.peers();
  const name: string | undefined = peers[0]?.name;
  // @ts-expect-error: there may be none
  peers[0].name;
  const info = await agent.info();
  const address: string | null = info.address;
  const epoch: string | undefined = info.session.relayEpoch;
  // @ts-expect-error: fields have names as JavaScript writes them
  info.started_ms;
  await agent.requestTrust("bob", "to use your tools", { right: "may_open", offer: "reply_only", capabilities: ["tool_call"], forSeconds: 60 });
  // @ts-expect-error: without a reason
  await agent.requestTrust("bob");
  // @ts-expect-error: no such right
  await agent.requestTrust("bob", "why", { right: "may_all" });
  await agent.approve("alice", { quota: { calls: 5, seconds: 3600 } });
  // @ts-expect-error: calls in what time?
  await agent.approve("alice", { quota: { calls: 5 } });
  await agent.setVisibility("public");
  // @ts-expect-error: not one of both
  await agent.setVisibility("hidden");
}

function errors(error: SluiceError): void {
  if (error.code === "not_found") return;
  // @ts-expect-error: no such code
  if (error.code === "lost") return;
  // @ts-expect-error: only calls have reasons
  error.reason;
  if (error instanceof CallError) {
    const reason: string = error.reason;
    const after: number | null = error.retryAfterMs;
    const data: Buffer = error.data;
  }
}
