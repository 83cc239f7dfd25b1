// Messages without an answer. What the daemon has handed over is kept for the next reader when the one that asked has left.

import { Body, bodyOf, bytesOf, type Payload } from "./body.js";
import { checkText } from "./checks.js";
import { SluiceError } from "./errors.js";
import { Hold } from "./hold.js";
import type { Peers } from "./records.js";
import { LinkedSignal, orAborted } from "./signals.js";
import type { Transport } from "./transport.js";

const MOST_BATCH = 65_536;
const MOST_BATCH_BYTES = 16 * 1024 * 1024;
const MOST_PER_POLL = 256;
const POLL_MS = 10_000;
const EVERYBODY = "";

/** Text goes as UTF-8, bytes as they are, a plain object as JSON; a list is several messages. */
export type Messages = Payload | readonly Payload[];

export interface MessagesOptions {
  /** Only those of this peer: its name, DID or address. */
  peer?: string | undefined;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** A message of a peer. */
export class Message extends Body {
  constructor(
    data: Buffer,
    readonly peer: { did: string; name: string },
    /** How many the daemon had no room for since the message before. */
    readonly lostBefore: number,
  ) {
    super(data);
  }
}

interface Received {
  messages: { from: string; name: string; data: string }[];
  dropped: number;
}

interface Poll {
  done: Promise<void>;
  hold: Hold;
  readers: number;
}

export class Mailbox {
  readonly #kept: Message[] = [];
  readonly #polls = new Map<string, Poll>(); // by the DID they are for
  #lost = 0;

  constructor(readonly transport: Transport) {}

  async send(peer: string, messages: Messages, signal: AbortSignal | undefined): Promise<number> {
    checkText(peer, "the peer's name, DID or address");
    const list = (Array.isArray(messages) ? messages : [messages]).map((m: Payload, i) => bytesOf(m, `message ${i + 1}`));
    if (list.length === 0) return 0;
    const bytes = list.reduce((sum, m) => sum + m.length, 0);
    if (list.length > MOST_BATCH || bytes > MOST_BATCH_BYTES) {
      throw new SluiceError("too_large", `${list.length} messages of ${bytes} bytes: at most ${MOST_BATCH} of ${MOST_BATCH_BYTES} bytes go at once`);
    }
    const body = { peer, messages: list.map((m) => m.toString("base64")) };
    const { sent } = await this.transport.post<{ sent: number }>("/v1/messages", body, { pool: "slow", ...(signal && { signal }) });
    return sent;
  }

  async *read(options: MessagesOptions, agentSignal: AbortSignal | undefined): AsyncGenerator<Message, void, undefined> {
    const link = new LinkedSignal(agentSignal, options.signal);
    try {
      const from = await this.#didOf(options.peer, link.signal);
      for (;;) {
        link.signal.throwIfAborted();
        const message = this.#take(from);
        if (message) {
          yield message;
        } else {
          await this.#more(from, link.signal);
        }
      }
    } finally {
      link.unlink();
    }
  }

  async #didOf(peer: string | undefined, signal: AbortSignal): Promise<string> {
    if (peer === undefined) return EVERYBODY;
    checkText(peer, "peer");
    if (peer.startsWith("did:")) return peer;
    const { peers } = await this.transport.get<Peers>("/v1/peers", { signal });
    const found = peers.filter((p) => p.name === peer || p.address === peer);
    if (found.length === 1) return (found[0] as Peers["peers"][number]).did;
    throw new SluiceError(found.length === 0 ? "not_found" : "conflict", `${found.length} peers are called "${peer}"`);
  }

  #take(from: string): Message | undefined {
    const at = this.#kept.findIndex((m) => from === EVERYBODY || m.peer.did === from);
    return at < 0 ? undefined : this.#kept.splice(at, 1)[0];
  }

  // The daemon hands messages to whoever asked first, even when the connection has died since: no question is broken off.
  // One that nobody here waits for does not keep the process from ending; with the process the daemon keeps what it has.
  async #more(from: string, signal: AbortSignal): Promise<void> {
    const poll = this.#polls.get(EVERYBODY) ?? this.#polls.get(from) ?? this.#ask(from);
    poll.hold.set(++poll.readers > 0);
    try {
      await orAborted(poll.done, signal);
    } finally {
      poll.hold.set(--poll.readers > 0);
    }
  }

  #ask(from: string): Poll {
    const hold = new Hold();
    const query = { max: MOST_PER_POLL, wait_ms: POLL_MS, ...(from !== EVERYBODY && { peer: from }) };
    const done = this.transport
      .get<Received>("/v1/messages", { query, pool: "slow", waitMs: POLL_MS, hold })
      .then((received) => this.#keep(received))
      .finally(() => this.#polls.delete(from));
    done.catch(() => undefined);
    const poll = { done, hold, readers: 0 };
    this.#polls.set(from, poll);
    return poll;
  }

  #keep({ messages, dropped }: Received): void {
    this.#lost += dropped;
    for (const m of messages) {
      this.#kept.push(new Message(bodyOf(m.data).data, { did: m.from, name: m.name }, this.#lost));
      this.#lost = 0;
    }
  }
}
