// Calls a peer: node examples/caller.js PEER 'some text'
import { Agent, CallError } from "@sluice/client";

const [peer, text] = process.argv.slice(2);
try {
  const answer = await new Agent().call(peer, text, { timeoutMs: 10_000 });
  console.log(answer.text());
} catch (error) {
  console.error(error instanceof CallError ? `${error.message} [${error.reason}]` : error.message);
  process.exitCode = 1;
}
