// Bytes that came, and values that leave as bytes.

import { SluiceError } from "./errors.js";

/** What one call carries in one direction at most. */
export const MOST_BYTES = 16 * 1024 * 1024;

/** Text goes as UTF-8, bytes as they are, a plain object or array as JSON. A promise is none of them. */
export type Payload = string | Uint8Array | ArrayBuffer | { readonly [key: string]: any; readonly then?: undefined };

/** Bytes of a peer, and how they are read. */
export class Body {
  constructor(readonly data: Buffer) {}

  text(): string {
    return this.data.toString("utf8");
  }
  /** What stands there is up to the peer: T is a promise of nobody. */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T;
  }
}

export function bodyOf(base64: string): Body {
  return new Body(Buffer.from(base64, "base64"));
}

/** The bytes of a value; what has none, or has others than its writer may think, is an error. */
export function bytesOf(value: Payload | undefined, what = "the data"): Buffer {
  if (value === undefined) return Buffer.alloc(0);
  if (typeof value === "string") return Buffer.from(value, "utf8");
  if (Buffer.isBuffer(value)) return value;
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  const json = isPlain(value) ? JSON.stringify(value) : undefined;
  if (json === undefined) {
    throw new SluiceError("usage", `${what}: not a text, bytes, a plain object or an array, but ${kindOf(value)}`);
  }
  return Buffer.from(json, "utf8");
}

/** The same, of no more than a call carries. */
export function callBytesOf(value: Payload | undefined, what = "the data"): Buffer {
  const bytes = bytesOf(value, what);
  if (bytes.length > MOST_BYTES) {
    throw new SluiceError("too_large", `${what}: ${bytes.length} bytes, and a call carries ${MOST_BYTES} at most`);
  }
  return bytes;
}

// A promise that nobody awaited, a Map and their like would become "{}".
function isPlain(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value) || typeof (value as { toJSON?: unknown }).toJSON === "function") return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function kindOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(typeof value === "object" ? null : typeof value);
  return `a ${value.constructor?.name ?? "thing"}${value instanceof Promise ? ": await it" : ""}`;
}
