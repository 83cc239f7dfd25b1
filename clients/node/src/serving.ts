// Serving: calls of peers, each handed to a function whose value is the answer. A server asks the daemon for work all the time, over a daemon's restart as well.

import { randomBytes } from "node:crypto";

import { Body, bodyOf, callBytesOf, type Payload } from "./body.js";
import { checkFunction, checkWhole } from "./checks.js";
import { AbortError, isCode } from "./errors.js";
import type { Capability, Protocol } from "./records.js";
import { LinkedSignal, orAborted, pause } from "./signals.js";
import type { Transport } from "./transport.js";

const MOST_SLOTS = 256;
const USUAL_SLOTS = 16;
const ASK_MS = 10_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;
const RELEASE_MS = 50;

// Statuses of docs/calls.md.
const FAILED = 1;
const RESPONSE_TOO_LARGE = 514;
const SERVER_GONE = 515;

export interface Caller {
  did: string;
  /** As the relay knows it; empty when it has gone meanwhile. */
  name: string;
  address: string;
  /** Whether this agent has itself verified the trust's signatures; else the relay's operator says so. */
  verified: boolean;
}

/** A call of a peer. */
export class ServedCall extends Body {
  readonly peer: Caller;
  readonly trace: string;
  readonly idempotencyKey: string;
  readonly capability: Capability | "";
  readonly protocol: Protocol | "";
  readonly service: number;
  /** As the envelope has them, 16 hex digits each. */
  readonly scopes: string[];

  constructor(
    work: Work,
    /** Aborted when nobody waits for the answer any more. */
    readonly signal: AbortSignal,
  ) {
    super(bodyOf(work.data).data);
    this.peer = { did: work.from, name: work.name, address: work.address, verified: work.verified };
    this.trace = work.trace;
    this.idempotencyKey = work.idempotencyKey;
    this.capability = work.capability;
    this.protocol = work.protocol;
    this.service = work.service;
    this.scopes = work.scopes;
  }
}

/** Throw it in a handler for a status of your own, 1 to 255, and bytes that the caller gets with it. */
export class CallFailure extends Error {
  override name = "CallFailure";
  readonly data: Buffer;

  constructor(
    readonly status: number,
    data?: Payload,
  ) {
    checkWhole(status, 1, 255, "the status of a failure");
    super(`status ${status}`);
    this.data = callBytesOf(data, "what goes with the failure");
  }
}

export type Handler = (call: ServedCall) => Payload | void | Promise<Payload | void>;

/** `away`: the daemon does not answer, and is asked again and again. `closing`: what runs is waited for. */
export type ServerState = "serving" | "away" | "closing" | "closed";

export interface ServeOptions {
  /** So many at a time, 1 to 256, 16 when it is left out; the next caller hears `busy`. One peer takes three quarters at most. */
  slots?: number | undefined;
  /** What a handler threw, and what kept an answer from its caller, with its call; what the daemon said when it went away, without one. */
  onError?: ((error: unknown, call?: ServedCall) => void) | undefined;
  onState?: ((state: ServerState) => void) | undefined;
  /** Closes the server as `close({ abort: true })` does. */
  signal?: AbortSignal | undefined;
}

interface Work {
  call: string;
  from: string;
  name: string;
  address: string;
  verified: boolean;
  trace: string;
  idempotencyKey: string;
  capability: Capability | "";
  protocol: Protocol | "";
  service: number;
  scopes: string[];
  data: string;
}

interface Orders {
  calls: Work[];
  cancelled: string[];
}

interface Running {
  controller: AbortController;
  /** Once it is answered, or nobody waits for it any more. */
  done: Promise<void>;
}

export class Server {
  readonly #transport: Transport;
  readonly #handler: Handler;
  readonly #options: ServeOptions;
  readonly #slots: number;
  readonly #link: LinkedSignal;
  readonly #id = randomBytes(8).toString("hex");
  readonly #running = new Map<string, Running>();
  readonly #over = new AbortController();
  #state: ServerState = "serving";
  #closing = false;
  #closed: Promise<void> | undefined;
  #loop: Promise<void> = Promise.resolve();

  /** Resolves once the daemon knows of it. */
  static async start(transport: Transport, handler: Handler, options: ServeOptions, agentSignal: AbortSignal | undefined): Promise<Server> {
    const server = new Server(transport, handler, options, agentSignal);
    try {
      server.#link.signal.throwIfAborted();
      server.#take(await server.#ask(0));
    } catch (error) {
      server.#link.unlink();
      throw error;
    }
    server.#link.signal.addEventListener("abort", () => void server.close({ abort: true }), { once: true });
    if (server.#link.signal.aborted) void server.close({ abort: true });
    server.#loop = server.#serve();
    return server;
  }

  private constructor(transport: Transport, handler: Handler, options: ServeOptions, agentSignal: AbortSignal | undefined) {
    checkFunction(handler, "the handler");
    for (const name of ["onError", "onState"] as const) {
      if (options[name] !== undefined) checkFunction(options[name], name);
    }
    this.#slots = checkWhole(options.slots ?? USUAL_SLOTS, 1, MOST_SLOTS, "slots");
    this.#transport = transport;
    this.#handler = handler;
    this.#options = options;
    this.#link = new LinkedSignal(agentSignal, options.signal);
  }

  get state(): ServerState {
    return this.#state;
  }
  /** Calls whose callers wait for a handler now. */
  get running(): number {
    return this.#running.size;
  }

  /** Takes no more calls and waits for those that run, or, with `abort`, tells their callers that the server has gone. */
  close({ abort = false }: { abort?: boolean } = {}): Promise<void> {
    this.#closing = true;
    this.#closed ??= this.#close();
    if (abort) this.#abortAll("the server is closed", SERVER_GONE);
    return this.#closed;
  }

  async #close(): Promise<void> {
    await null; // so that whoever asks for it again meanwhile gets this one
    this.#link.unlink();
    this.#enter("closing");
    while (this.#running.size > 0) {
      // Without places it is given no more, and hears of cancellations all the same.
      void this.#askNow();
      await Promise.race([...this.#running.values()].map((r) => r.done));
    }
    await this.#leave();
    this.#enter("closed");
  }

  // No question is broken off: work that came as its answer would be lost, and its caller would wait in vain.
  async #leave(): Promise<void> {
    this.#over.abort();
    let stopped = false;
    const loop = this.#loop.then(() => (stopped = true));
    while (!stopped) {
      await this.#askNow();
      await Promise.race([loop, pause(RELEASE_MS)]);
    }
    await this.#transport.delete("/v1/serve", { query: { server: this.#id } }).catch(() => undefined);
  }

  // The question that waits is answered at once then, with nothing.
  async #askNow(): Promise<void> {
    await this.#ask(0).then(
      (orders) => this.#take(orders),
      () => undefined,
    );
  }

  async #serve(): Promise<void> {
    let retryMs = FIRST_RETRY_MS;
    while (!this.#over.signal.aborted) {
      try {
        this.#take(await this.#ask(this.#state === "away" ? 0 : ASK_MS));
        retryMs = FIRST_RETRY_MS;
        if (this.#state === "away") this.#enter("serving");
      } catch (error) {
        if (this.#over.signal.aborted) return;
        // A daemon that has ended has ended its calls.
        if (isCode(error, "unreachable")) this.#abortAll("the agent's daemon has ended");
        if (this.#state === "serving") {
          this.#enter("away");
          this.#report(error);
        }
        await pause(retryMs, this.#over.signal);
        retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
      }
    }
  }

  #ask(waitMs: number): Promise<Orders> {
    const query = { server: this.#id, slots: this.#closing ? 0 : this.#slots, wait_ms: waitMs };
    return this.#transport.get<Orders>("/v1/serve", { query, pool: waitMs === 0 ? "prompt" : "serve", waitMs });
  }

  #take({ calls, cancelled }: Orders): void {
    for (const call of cancelled) this.#abort(call, "the caller has cancelled the call");
    for (const work of calls) {
      if (this.#closing) {
        void this.#answer(work.call, SERVER_GONE, Buffer.alloc(0)).catch(() => undefined);
        continue;
      }
      const controller = new AbortController();
      const run = this.#run(work, controller).finally(() => this.#running.delete(work.call));
      const done = orAborted(run, controller.signal).catch(() => undefined);
      this.#running.set(work.call, { controller, done });
    }
  }

  async #run(work: Work, controller: AbortController): Promise<void> {
    const call = new ServedCall(work, controller.signal);
    const [status, data] = await this.#outcome(call);
    if (controller.signal.aborted) return;
    await this.#answer(work.call, status, data).catch((error: unknown) => {
      // Its caller left just before.
      if (!isCode(error, "not_found")) this.#report(error, call);
    });
  }

  // Of an error nothing is told to the caller: what it says is this side's alone.
  async #outcome(call: ServedCall): Promise<[number, Buffer]> {
    let status = FAILED;
    try {
      const answer = (await this.#handler(call)) as Payload | undefined;
      status = RESPONSE_TOO_LARGE;
      return [0, callBytesOf(answer, "the answer")];
    } catch (error) {
      if (error instanceof CallFailure) return [error.status, error.data];
      if (!call.signal.aborted) this.#report(error, call);
      return [isCode(error, "too_large") ? status : FAILED, Buffer.alloc(0)];
    }
  }

  async #answer(call: string, status: number, data: Buffer): Promise<void> {
    await this.#transport.post("/v1/serve/answer", { server: this.#id, call, status, data: data.toString("base64") });
  }

  // Its handler may go on for as long as it likes: nobody waits for it.
  #abort(call: string, why: string): void {
    this.#running.get(call)?.controller.abort(new AbortError(why));
    this.#running.delete(call);
  }

  #abortAll(why: string, status?: number): void {
    for (const call of [...this.#running.keys()]) {
      this.#abort(call, why);
      if (status !== undefined) void this.#answer(call, status, Buffer.alloc(0)).catch(() => undefined);
    }
  }

  #enter(state: ServerState): void {
    this.#state = state;
    this.#tell(() => this.#options.onState?.(state));
  }

  #report(error: unknown, call?: ServedCall): void {
    this.#tell(() => this.#options.onError?.(error, call));
  }

  // What a callback throws is its program's: no call waits for it.
  #tell(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
