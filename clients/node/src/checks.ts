// Arguments that cannot be right are told at once, by their names, before anything leaves.

import { SluiceError } from "./errors.js";

const HEX_16 = /^[0-9a-f]{32}$/;
const MOST_SCOPES = 4;
const MOST_SCOPE_BYTES = 64;

function wrong(what: string): never {
  throw new SluiceError("usage", what);
}

export function checkText(value: unknown, what: string): string {
  if (typeof value !== "string" || value.length === 0) wrong(`${what} is a text that is not empty`);
  return value as string;
}

export function checkWhole(value: unknown, least: number, most: number, what: string): number {
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
    wrong(`${what} is a whole number from ${least} to ${most}`);
  }
  return value as number;
}

export function checkOneOf<T extends string>(value: unknown, names: readonly T[], what: string): T {
  if (!names.includes(value as T)) wrong(`${what} is one of ${names.join(", ")}`);
  return value as T;
}

export function checkId(value: unknown, what: string): string {
  if (typeof value !== "string" || !HEX_16.test(value) || /^0*$/.test(value)) {
    wrong(`${what} is 32 lower-case hex digits, not all zero`);
  }
  return value as string;
}

export function checkScopes(value: unknown): string[] {
  const names = Array.isArray(value) && value.length <= MOST_SCOPES ? (value as unknown[]) : [undefined];
  for (const name of names) {
    if (typeof name !== "string" || name.length === 0 || Buffer.byteLength(name) > MOST_SCOPE_BYTES) {
      wrong(`scopes is a list of at most ${MOST_SCOPES} names of 1 to ${MOST_SCOPE_BYTES} bytes`);
    }
  }
  return names as string[];
}

export function checkFunction(value: unknown, what: string): void {
  if (typeof value !== "function") wrong(`${what} is a function`);
}
