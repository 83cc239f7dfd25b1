// HTTP to the daemon's Unix socket. Connections are kept, in pools by how long their answers take: what waits for news never holds up what does not.

import * as http from "node:http";
import type { Socket } from "node:net";

import { SluiceError, type ErrorCode } from "./errors.js";
import { camelCased } from "./names.js";
import type { Hold } from "./hold.js";

// Together below what a daemon takes whose process may open 1,024 files.
const POOLS = { prompt: 32, wait: 128, slow: 128, serve: 64 } as const;
export type Pool = keyof typeof POOLS;

export const MOST_WAITS: number = POOLS.wait;
// Shorter than the daemon keeps a connection that says nothing.
const IDLE_MS = 30_000;
const ANSWER_WITHIN_MS = 30_000;
// The longest answer that the daemon gives has half of it.
const MOST_ANSWER_BYTES = 64 * 1024 * 1024;

export interface Ask {
  query?: Record<string, string | number>;
  body?: object;
  pool?: Pool;
  /** How long the daemon may take on purpose. */
  waitMs?: number;
  /** Ends the request, and rejects with the signal's reason. */
  signal?: AbortSignal;
  /** As `signal`, but only as long as nothing of it has left: what may have been acted upon is to be heard to its end. */
  unsentSignal?: AbortSignal;
  hold?: Hold;
}

interface Answer {
  status: number;
  body: Buffer;
}

export class Transport {
  readonly #pools: Record<Pool, http.Agent>;

  constructor(readonly path: string) {
    const pool = (maxSockets: number): http.Agent => new http.Agent({ keepAlive: true, maxSockets, timeout: IDLE_MS });
    this.#pools = { prompt: pool(POOLS.prompt), wait: pool(POOLS.wait), slow: pool(POOLS.slow), serve: pool(POOLS.serve) };
  }

  get<T>(path: string, ask: Ask = {}): Promise<T> {
    return this.#request<T>("GET", path, ask);
  }
  post<T>(path: string, body: object, ask: Ask = {}): Promise<T> {
    return this.#request<T>("POST", path, { ...ask, body });
  }
  delete<T>(path: string, ask: Ask = {}): Promise<T> {
    return this.#request<T>("DELETE", path, ask);
  }

  async #request<T>(method: string, path: string, ask: Ask): Promise<T> {
    const query = Object.entries(ask.query ?? {}).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
    const target = query.length === 0 ? path : `${path}?${query.join("&")}`;
    const { status, body } = await this.#exchange(method, target, ask, true);
    const parsed = parse(body);
    if (status >= 400) throw errorOf(status, parsed, body);
    if (parsed === undefined) throw new SluiceError("internal", "the daemon's answer is not JSON");
    return camelCased(parsed) as T;
  }

  #exchange(method: string, target: string, ask: Ask, again: boolean): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const stops = [ask.signal, ask.unsentSignal];
      const gone = stops.find((s) => s?.aborted);
      if (gone) return reject(gone.reason);
      const body = ask.body === undefined ? undefined : Buffer.from(JSON.stringify(ask.body), "utf8");
      const request = http.request({
        socketPath: this.path,
        agent: this.#pools[ask.pool ?? "prompt"],
        method,
        path: target,
        headers: { Host: "localhost", ...(body && { "Content-Type": "application/json", "Content-Length": body.length }) },
      });
      let settled = false;
      const settle = (done: () => void): void => {
        if (settled) return;
        settled = true;
        clearTimeout(timer);
        ask.signal?.removeEventListener("abort", stop);
        ask.unsentSignal?.removeEventListener("abort", stopUnsent);
        ask.hold?.detach();
        done();
      };
      const fail = (error: unknown): void => {
        settle(() => reject(error));
        request.destroy();
      };
      const stop = (): void => fail(ask.signal?.reason);
      const stopUnsent = (): void => {
        if (request.socket === null || request.socket.connecting) fail(ask.unsentSignal?.reason);
      };
      ask.signal?.addEventListener("abort", stop, { once: true });
      ask.unsentSignal?.addEventListener("abort", stopUnsent, { once: true });
      // Counted once it has a connection: in the queue of a pool others are being answered.
      let timer: NodeJS.Timeout | undefined;
      request.on("socket", (socket: Socket) => {
        if (settled) return;
        timer = setTimeout(
          () => fail(new SluiceError("timeout", `the agent's daemon did not answer on ${this.path} in time`)),
          (ask.waitMs ?? 0) + ANSWER_WITHIN_MS,
        );
        ask.hold?.attach(socket, timer);
      });
      request.on("error", (error: NodeJS.ErrnoException) => {
        // The daemon had closed a kept connection before it took this request: nothing can have come of it.
        if (again && request.reusedSocket && wasUntouched(error)) {
          settle(() => this.#exchange(method, target, ask, false).then(resolve, reject));
        } else {
          fail(connectionError(error, this.path));
        }
      });
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > MOST_ANSWER_BYTES) {
            return fail(new SluiceError("internal", `the daemon's answer is larger than ${MOST_ANSWER_BYTES} bytes`));
          }
          chunks.push(chunk);
        });
        response.on("end", () => settle(() => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) })));
        response.on("error", (error) => fail(connectionError(error, this.path)));
      });
      request.end(body);
    });
  }
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
}

function errorOf(status: number, parsed: unknown, body: Buffer): SluiceError {
  const error = (parsed as { error?: { code?: unknown; message?: unknown } } | null | undefined)?.error;
  if (typeof error?.code === "string" && typeof error.message === "string") {
    return new SluiceError(error.code as ErrorCode, error.message);
  }
  const begin = body.subarray(0, 200).toString("utf8");
  return new SluiceError("internal", `the daemon's answer has status ${status} and no error in the documented form: ${begin}`);
}

// On a Unix socket the kernel tells whether the other side has read all: if not, these come in the place of an end.
function wasUntouched(error: NodeJS.ErrnoException): boolean {
  return error.code === "EPIPE" || (error.code === "ECONNRESET" && error.syscall !== undefined);
}

function connectionError(error: NodeJS.ErrnoException, path: string): SluiceError {
  const cause = { cause: error };
  switch (error.code) {
    case "ENOENT":
    case "ENOTDIR":
    case "ECONNREFUSED":
      return new SluiceError("unreachable", `no agent's daemon answers on ${path}: start it with sluice-agent up, or name another state folder`, cause);
    case "EACCES":
    case "EPERM":
      return new SluiceError("permission", `no permission to use ${path}: the daemon answers its own user alone, so run this as that user`, cause);
    case "EAGAIN":
    case "EMFILE":
    case "ENFILE":
      return new SluiceError("resource", `no connection to ${path} can be made now: ${error.message}`, cause);
    case "ECONNRESET":
    case "EPIPE":
      return new SluiceError("unreachable", `the agent's daemon on ${path} has closed the connection without an answer`, cause);
    default:
      return new SluiceError("unreachable", `the agent's daemon on ${path} cannot be asked: ${error.message}`, cause);
  }
}
