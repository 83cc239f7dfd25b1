// What the daemon answers, field by field; times are milliseconds, those that end in `Ms` since 1970 unless they say otherwise.

export const CAPABILITIES = ["read", "delegate", "tool_call", "workflow_command"] as const;
export type Capability = (typeof CAPABILITIES)[number];

export const PROTOCOLS = ["raw", "a2a", "mcp", "openai", "anp", "acp"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export type Right = "may_send" | "may_open" | "reply_only";

/** Where a call stands: at its caller, `serving` and `answering` at its callee. */
export type CallState = "opening" | "awaiting_approval" | "open" | "serving" | "answering" | "ended";

/** A call that is open, or was lately. */
export interface CallRecord {
  call: string;
  messageId: string;
  trace: string;
  idempotencyKey: string;
  direction: "out" | "in";
  /** The peer's DID. */
  peer: string;
  /** The peer's name; empty when it is not known any more. */
  name: string;
  capability: Capability | "";
  protocol: Protocol | "";
  service: number;
  state: CallState;
  /** How it ended (docs/calls.md), null while it goes on. */
  outcome: string | null;
  /** The relay's decision, `authorized` among them; null while there is none. */
  decision: string | null;
  /** Of its end: 0 is success. */
  status: number | null;
  bytesSent: number;
  bytesReceived: number;
  issuedMs: number;
  /** From the call's begin: until the peer took it, until all of the request was on its way (it may be before), until its end or now. */
  ms: { accepted: number | null; request: number | null; total: number };
}

/** Somebody this agent has an edge to. */
export interface Peer {
  did: string;
  name: string;
  address: string;
  /** What this agent may do towards it. */
  right: Right;
  seal: string;
  state: "ok" | "refused";
  /** Why it is refused. */
  reason?: string;
  source: "agreement" | "operator";
  /** Whether this agent has itself verified the trust's signatures. */
  verified: boolean;
  expiresMs: number | null;
  session?: {
    ready: boolean;
    sent: number;
    received: number;
    handshakes: number;
    failures: number;
    dropped: number;
    lastError?: string;
  };
}

export interface Peers {
  /** Whether the relay's list has arrived whole since the session began. */
  synced: boolean;
  peers: Peer[];
}

/** The agent, its session with the relay, and its counters. */
export interface AgentInfo {
  did: string;
  name: string;
  tenant: number;
  version: string;
  startedMs: number;
  /** Its virtual address, once the relay has given it one. */
  address: string | null;
  relay: { name: string; key: string; id: string; address: string; ownAddress: string };
  session: {
    up: boolean;
    clockOffsetMs: number;
    ageMs?: number;
    relayEpoch?: string;
    mtu?: number;
    /** The largest message that fits, in bytes. */
    maxMessage?: number;
    trustLifeS?: number;
    relayRttMs?: number;
  };
  path: { offload: string };
  peers: { synced: boolean; usable: number; refused: number };
  /** The operator's DID, where one is known. */
  operator?: string;
  revocations: { did: string; reason: string; issuedMs: number; receivedMs: number }[];
  calls: Record<string, number>;
  counters: Record<string, number>;
  keyLog: string | null;
  lastError: { message: string; unixMs: number } | null;
}

export interface Terms {
  right: Right;
  scopes: string[];
  protocols: string[];
  capabilities: string[];
}

/** A request for trust that waits for its answer. */
export interface WaitingTrust {
  /** The request's digest: what is approved by it is what was read. */
  request: string;
  did: string;
  justification: string;
  asked: Terms;
  offered: Terms;
  receivedMs: number;
  expiresMs: number;
  trustEndsMs: number | null;
  /** Of incoming ones. */
  name?: string;
  address?: string;
}
