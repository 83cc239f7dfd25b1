// Answers calls of peers with what came, in capitals: node examples/server.js
import { Agent } from "@sluice/client";

const agent = new Agent();
const server = await agent.serve((call) => `${call.peer.name} said ${call.text().toUpperCase()}`, {
  onError: (error) => console.error(String(error)),
});
console.log("serving; end it with Ctrl-C");
process.once("SIGINT", () => server.close());
