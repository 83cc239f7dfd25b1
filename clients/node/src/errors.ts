// What goes wrong, as the daemon names it (docs/errors.md).

import type { Body } from "./body.js";
import type { CallRecord } from "./records.js";

export type ErrorCode =
  | "internal"
  | "usage"
  | "config"
  | "unreachable"
  | "not_found"
  | "permission"
  | "resource"
  | "conflict"
  | "not_durable"
  | "not_proven"
  | "timeout"
  | "key_file"
  | "refused"
  | "store"
  | "too_large"
  | "outdated"
  | "call_failed"
  | "no_privilege";

/** One clear sentence, and a code to decide by. */
export class SluiceError extends Error {
  override name = "SluiceError";

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Why a call did not succeed. */
export interface Failure {
  code: ErrorCode;
  reason: string;
  message: string;
  hint: string | null;
  retryAfterMs: number | null;
}

/** A call that was made and did not succeed. */
export class CallError extends SluiceError {
  override name = "CallError";
  /** The relay's, the agents' or the peer's word for it, such as `capability_not_allowed` (docs/calls.md). */
  readonly reason: string;
  /** What helps, where something does. */
  readonly hint: string | null;
  readonly retryAfterMs: number | null;

  constructor(
    failure: Failure,
    /** What the peer said before it failed. */
    readonly body: Body,
    /** The call as it ended; null when the daemon ended during it. */
    readonly call: CallRecord | null,
    options?: ErrorOptions,
  ) {
    super(failure.code, failure.message, options);
    this.reason = failure.reason;
    this.hint = failure.hint;
    this.retryAfterMs = failure.retryAfterMs;
  }

  get data(): Buffer {
    return this.body.data;
  }
  text(): string {
    return this.body.text();
  }
  json<T = unknown>(): T {
    return this.body.json<T>();
  }
}

/** The reason of signals that this library itself aborts. */
export class AbortError extends Error {
  override name = "AbortError";
  readonly code = "ABORT_ERR";
}

export function isCode(error: unknown, ...codes: ErrorCode[]): error is SluiceError {
  return error instanceof SluiceError && codes.includes(error.code);
}
