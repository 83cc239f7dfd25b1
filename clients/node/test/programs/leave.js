// Stops waiting for messages, and ends: nothing holds it.
import { Agent } from "@sluice/client";

const stop = new AbortController();
const reader = new Agent({ socket: process.env.SLUICE_SOCKET }).messages({ signal: stop.signal });
setTimeout(() => stop.abort(), 300);
await reader.next().catch((error) => console.log(error.name));
