// Serves calls and never answers; says so, a line each. Ends with its standard input.
import { Agent } from "@sluice/client";

await new Agent({ socket: process.env.SLUICE_SOCKET }).serve(() => {
  console.log("called");
  return new Promise(() => {});
});
console.log("serving");
process.stdin.resume().on("end", () => process.exit());
