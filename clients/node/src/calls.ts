// Calling: a request to a peer and its response. Whoever does not ask for a call any more has given it up.

import { Body, bodyOf, callBytesOf, type Payload } from "./body.js";
import { checkFunction, checkId, checkOneOf, checkScopes, checkText, checkWhole } from "./checks.js";
import { CallError, isCode, type Failure } from "./errors.js";
import { CAPABILITIES, PROTOCOLS, type CallRecord, type CallState, type Capability, type Protocol } from "./records.js";
import { LinkedSignal, orAborted, pause } from "./signals.js";
import { MOST_WAITS, type Transport } from "./transport.js";
import { Turns } from "./turns.js";

const MOST_TIMEOUT_MS = 3_600_000;
// The daemon gives a call up for which nobody has asked for 10 s; each has its turn in half of that, however many there are.
const ROUND_MS = 4_000;
const RETRY_MS = 200;

export interface CallOptions {
  /** What the trust with the peer must allow; `tool_call` when it is left out. */
  capability?: Capability | undefined;
  /** What the bytes are; `raw` when it is left out. */
  protocol?: Protocol | undefined;
  /** A number that the callee gives a meaning, 0 to 65535. */
  service?: number | undefined;
  /** Up to four names, each of which must be granted. */
  scopes?: readonly string[] | undefined;
  /** For everything, up to an hour; 30 s when it is left out. */
  timeoutMs?: number | undefined;
  /** 32 hex digits that stand in the audit log and are handed to the callee: pass on what you were called with. */
  trace?: string | undefined;
  /** 32 hex digits; the relay lets each pass once. */
  idempotencyKey?: string | undefined;
  /** Cancels the call: the callee is told. */
  signal?: AbortSignal | undefined;
  /** Told each state the call comes to. */
  onState?: ((state: CallState) => void) | undefined;
}

/** A call that succeeded. */
export class CallResult extends Body {
  constructor(
    data: Buffer,
    readonly call: CallRecord,
  ) {
    super(data);
  }
  get trace(): string {
    return this.call.trace;
  }
  get messageId(): string {
    return this.call.messageId;
  }
  get status(): number {
    return this.call.status ?? 0;
  }
  get decision(): string | null {
    return this.call.decision;
  }
  /** Milliseconds from the call's begin. */
  get times(): CallRecord["ms"] {
    return this.call.ms;
  }
}

interface Waited extends CallRecord {
  data?: string;
  error?: Failure | null;
}

export class Calls {
  readonly #turns = new Turns(MOST_WAITS);
  #waiting = 0;

  constructor(readonly transport: Transport) {}

  async make(peer: string, data: Payload | undefined, options: CallOptions, agentSignal: AbortSignal | undefined): Promise<CallResult> {
    const body = requestBody(peer, data, options);
    const link = new LinkedSignal(agentSignal, options.signal);
    try {
      link.signal.throwIfAborted();
      const opening = this.transport.post<{ call: string }>("/v1/calls", body, { unsentSignal: link.signal });
      const { call } = await orAborted(opening, link.signal).catch((error: unknown) => {
        opening.then((opened) => this.#cancel(opened.call)).catch(() => undefined);
        throw error;
      });
      return resultOf(await this.#end(call, options.onState, link.signal));
    } finally {
      link.unlink();
    }
  }

  async list(signal: AbortSignal | undefined): Promise<CallRecord[]> {
    const { calls } = await this.transport.get<{ calls: CallRecord[] }>("/v1/calls", { ...(signal && { signal }) });
    return calls;
  }

  async #end(call: string, onState: CallOptions["onState"], signal: AbortSignal): Promise<Waited> {
    let state: CallState = "opening";
    ++this.#waiting;
    try {
      for (;;) {
        const now: Waited | undefined = await this.#wait(call, state, signal);
        if (now !== undefined && now.state !== state) {
          state = now.state;
          onState?.(state);
        }
        if (now?.state === "ended") return now;
      }
    } catch (error) {
      this.#cancel(call);
      throw error;
    } finally {
      --this.#waiting;
    }
  }

  // Nothing: the daemon has no connection left for it now.
  async #wait(call: string, state: CallState, signal: AbortSignal): Promise<Waited | undefined> {
    const ask = (): Promise<Waited> => {
      const waitMs = Math.floor(ROUND_MS * Math.min(1, MOST_WAITS / this.#waiting));
      const query = { call, state, wait_ms: waitMs };
      return this.transport.get<Waited>("/v1/calls/wait", { query, pool: "wait", waitMs, signal });
    };
    try {
      return await orAborted(this.#turns.take(ask), signal);
    } catch (error) {
      if (isCode(error, "unreachable", "not_found")) throw daemonGone(error);
      if (!isCode(error, "resource")) throw error;
      await pause(RETRY_MS, signal);
      return undefined;
    }
  }

  // Nobody waits for its answer; a call that is over, or whose daemon is, needs no end.
  #cancel(call: string): void {
    this.transport.delete("/v1/calls", { query: { call } }).catch(() => undefined);
  }
}

function requestBody(peer: string, data: Payload | undefined, o: CallOptions): object {
  if (o.onState !== undefined) checkFunction(o.onState, "onState");
  return {
    peer: checkText(peer, "the peer's name, DID or address"),
    ...(o.capability !== undefined && { capability: checkOneOf(o.capability, CAPABILITIES, "capability") }),
    ...(o.protocol !== undefined && { protocol: checkOneOf(o.protocol, PROTOCOLS, "protocol") }),
    ...(o.service !== undefined && { service: checkWhole(o.service, 0, 0xffff, "service") }),
    ...(o.scopes !== undefined && { scopes: checkScopes(o.scopes) }),
    ...(o.timeoutMs !== undefined && { timeout_ms: checkWhole(o.timeoutMs, 1, MOST_TIMEOUT_MS, "timeoutMs") }),
    ...(o.trace !== undefined && { trace: checkId(o.trace, "trace") }),
    ...(o.idempotencyKey !== undefined && { idempotency_key: checkId(o.idempotencyKey, "idempotencyKey") }),
    data: callBytesOf(data).toString("base64"),
  };
}

function resultOf({ data, error, ...record }: Waited): CallResult {
  const body = bodyOf(data ?? "");
  if (error) throw new CallError(error, body, record);
  return new CallResult(body.data, record);
}

function daemonGone(cause: unknown): CallError {
  const message = "the agent's daemon ended during the call; whether the peer acted on it is not known";
  const failure: Failure = { code: "unreachable", reason: "daemon_gone", message, hint: null, retryAfterMs: null };
  return new CallError(failure, new Body(Buffer.alloc(0)), null, { cause });
}
