// Trust between agents: asking for it, answering, ending it. Each answer waits for the relay's.

import { checkOneOf, checkText, checkWhole } from "./checks.js";
import type { Capability, Right, WaitingTrust } from "./records.js";
import type { Transport } from "./transport.js";

const RIGHTS = ["may_send", "may_open", "reply_only"] as const;
const LONGEST_LIFE_S = 10 * 366 * 24 * 3600;
const LONGEST_QUOTA_S = 366 * 24 * 3600;
const MOST_QUOTA_CALLS = 1_000_000_000;

export interface TrustWish {
  /** How long it is to hold; without an end when it is left out. */
  forSeconds?: number | undefined;
  /** What this agent wants to do: `may_send` (messages and calls) when it is left out, `may_open` (calls), `reply_only`. */
  right?: Right | undefined;
  /** What the peer may do in turn. */
  offer?: Right | undefined;
  scopes?: readonly string[] | undefined;
  /** What its calls may be; `openai-responses` is taken for `openai`. */
  protocols?: readonly string[] | undefined;
  /** What its calls may be for: without one, none of them passes. */
  capabilities?: readonly Capability[] | undefined;
}

export interface TrustAsked {
  /** `approved` where the peer had asked as well. */
  state: "approved" | "pending";
  request: string;
  /** The peer's DID. */
  peer: string;
}

export interface ApproveOptions {
  forSeconds?: number | undefined;
  /** So many calls in so many seconds, over and over. */
  quota?: { calls: number; seconds: number } | undefined;
}

export interface TrustAnswered {
  state: "approved" | "rejected";
  request: string;
  statement: string;
  peer: string;
  name: string;
}

export interface TrustEnded {
  state: "ended";
  /** What was ended: the trust of a pair, or an own request. */
  what: "pair" | "request";
  statement: string;
}

export interface PendingTrust {
  incoming: WaitingTrust[];
  outgoing: WaitingTrust[];
}

export type Visibility = "public" | "private";

export class Trust {
  constructor(
    readonly transport: Transport,
    readonly signal: AbortSignal | undefined,
  ) {}

  request(peer: string, justification: string, wish: TrustWish): Promise<TrustAsked> {
    const lists = { scopes: wish.scopes, protocols: wish.protocols, capabilities: wish.capabilities };
    return this.#post("/v1/trust/request", {
      peer: checkPeer(peer),
      justification: checkText(justification, "the justification"),
      ...lifeOf(wish.forSeconds),
      ...(wish.right !== undefined && { right: checkOneOf(wish.right, RIGHTS, "right") }),
      ...(wish.offer !== undefined && { offer: checkOneOf(wish.offer, RIGHTS, "offer") }),
      ...lists,
    });
  }

  pending(): Promise<PendingTrust> {
    return this.transport.get("/v1/trust/pending", { ...(this.signal && { signal: this.signal }) });
  }

  approve(peer: string, { forSeconds, quota }: ApproveOptions): Promise<TrustAnswered> {
    return this.#post("/v1/trust/approve", {
      peer: checkPeer(peer),
      ...lifeOf(forSeconds),
      ...(quota !== undefined && {
        quota_calls: checkWhole(quota.calls, 1, MOST_QUOTA_CALLS, "quota.calls"),
        quota_s: checkWhole(quota.seconds, 1, LONGEST_QUOTA_S, "quota.seconds"),
      }),
    });
  }

  reject(peer: string, reason: string | undefined): Promise<TrustAnswered> {
    return this.#post("/v1/trust/reject", { peer: checkPeer(peer), ...reasonOf(reason) });
  }

  untrust(peer: string, reason: string | undefined): Promise<TrustEnded> {
    return this.#post("/v1/trust/untrust", { peer: checkPeer(peer), ...reasonOf(reason) });
  }

  setVisibility(visibility: Visibility): Promise<{ visibility: Visibility }> {
    return this.#post("/v1/visibility", { visibility: checkOneOf(visibility, ["public", "private"], "visibility") });
  }

  #post<T>(path: string, body: object): Promise<T> {
    return this.transport.post<T>(path, body, { pool: "slow", ...(this.signal && { signal: this.signal }) });
  }
}

function checkPeer(peer: string): string {
  return checkText(peer, "the peer's name, DID or address");
}

function lifeOf(seconds: number | undefined): object {
  return seconds === undefined ? {} : { for_s: checkWhole(seconds, 1, LONGEST_LIFE_S, "forSeconds") };
}

function reasonOf(reason: string | undefined): object {
  return reason === undefined ? {} : { reason: checkText(reason, "the reason") };
}
