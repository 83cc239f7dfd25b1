// Calls bob and waits for as long as it may.
import { Agent } from "@sluice/client";

await new Agent({ socket: process.env.SLUICE_SOCKET }).call("bob", "x", { timeoutMs: 600_000 });
