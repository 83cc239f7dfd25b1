// An agent of this host, as its daemon lets programs use it.

import type { Payload } from "./body.js";
import { Calls, type CallOptions, type CallResult } from "./calls.js";
import { Mailbox, type Message, type Messages, type MessagesOptions } from "./messages.js";
import type { AgentInfo, CallRecord, Peers } from "./records.js";
import { Server, type Handler, type ServeOptions } from "./serving.js";
import { socketPath, type Place } from "./socket_path.js";
import { Transport } from "./transport.js";
import {
  Trust,
  type ApproveOptions,
  type PendingTrust,
  type TrustAnswered,
  type TrustAsked,
  type TrustEnded,
  type TrustWish,
  type Visibility,
} from "./trust.js";

export interface AgentOptions extends Place {
  /** Ends all that goes through this object: calls are cancelled, servers closed, readers stopped. */
  signal?: AbortSignal | undefined;
}

/** Everything rejects with a `SluiceError`; with a `CallError` where a call was made; with a signal's reason where one was aborted. */
export class Agent {
  /** The daemon's socket. */
  readonly socket: string;
  readonly #signal: AbortSignal | undefined;
  readonly #transport: Transport;
  readonly #calls: Calls;
  readonly #mailbox: Mailbox;
  readonly #trust: Trust;

  /** Without a state folder or a socket: the agent that `sluice-agent` takes without `--state`. Nothing is asked of the daemon yet. */
  constructor(options: AgentOptions = {}) {
    this.socket = socketPath(options);
    this.#signal = options.signal;
    this.#transport = new Transport(this.socket);
    this.#calls = new Calls(this.#transport);
    this.#mailbox = new Mailbox(this.#transport);
    this.#trust = new Trust(this.#transport, this.#signal);
  }

  /** Calls a peer, by its name, DID or address, and waits for its answer. */
  async call(peer: string, data?: Payload, options: CallOptions = {}): Promise<CallResult> {
    return this.#calls.make(peer, data, options, this.#signal);
  }

  /** Hands each call of a peer to `handler`; what it returns is the answer. */
  async serve(handler: Handler, options: ServeOptions = {}): Promise<Server> {
    return Server.start(this.#transport, handler, options, this.#signal);
  }

  /** Open calls and recent ones, newest first. */
  async calls(): Promise<CallRecord[]> {
    return this.#calls.list(this.#signal);
  }

  /** Sends one message, or a list of them in order. Resolves with their number once they have left; whether they arrive nobody says. */
  async send(peer: string, messages: Messages): Promise<number> {
    return this.#mailbox.send(peer, messages, this.#signal);
  }

  /** Messages as they come, those of one peer in order. Each goes to one reader alone. */
  messages(options: MessagesOptions = {}): AsyncGenerator<Message, void, undefined> {
    return this.#mailbox.read(options, this.#signal);
  }

  async info(): Promise<AgentInfo> {
    return this.#transport.get("/v1/info", this.#ask());
  }

  async peers(): Promise<Peers> {
    return this.#transport.get("/v1/peers", this.#ask());
  }

  /** Asks an agent, by DID, address or name, for trust; the justification is signed and shown to it. */
  async requestTrust(peer: string, justification: string, wish: TrustWish = {}): Promise<TrustAsked> {
    return this.#trust.request(peer, justification, wish);
  }

  /** Requests that wait for an answer. */
  async pending(): Promise<PendingTrust> {
    return this.#trust.pending();
  }

  /** Says yes to a request, by its digest or by who has asked. */
  async approve(peer: string, options: ApproveOptions = {}): Promise<TrustAnswered> {
    return this.#trust.approve(peer, options);
  }

  async reject(peer: string, reason?: string): Promise<TrustAnswered> {
    return this.#trust.reject(peer, reason);
  }

  /** Ends the trust with a peer, or takes an own request back. */
  async untrust(peer: string, reason?: string): Promise<TrustEnded> {
    return this.#trust.untrust(peer, reason);
  }

  /** Whether others of the tenant may look this agent up by its name. */
  async setVisibility(visibility: Visibility): Promise<{ visibility: Visibility }> {
    return this.#trust.setVisibility(visibility);
  }

  #ask(): { signal?: AbortSignal } {
    return this.#signal ? { signal: this.#signal } : {};
  }
}
