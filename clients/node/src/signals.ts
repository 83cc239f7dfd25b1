// Abort signals: several taken for one, and waiting that ends with one.

import { setMaxListeners } from "node:events";

/** A signal that is aborted with any of `sources`; `unlink` when it is not needed any more. */
export class LinkedSignal {
  readonly #controller = new AbortController();
  readonly #sources: AbortSignal[];
  readonly #pass = (event: Event): void => this.#controller.abort((event.target as AbortSignal).reason);

  constructor(...sources: (AbortSignal | undefined)[]) {
    this.#sources = sources.filter((s): s is AbortSignal => s !== undefined);
    setMaxListeners(0, this.#controller.signal);
    for (const source of this.#sources) {
      if (source.aborted) this.#controller.abort(source.reason);
      // Any number of calls may hang on one signal; Node would warn of a leak.
      setMaxListeners(0, source);
      source.addEventListener("abort", this.#pass, { once: true });
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }
  unlink(): void {
    for (const source of this.#sources) source.removeEventListener("abort", this.#pass);
  }
}

/** As the promise, or rejected with the signal's reason, whichever is first; the promise itself goes on. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) {
      promise.catch(() => undefined);
      return stop();
    }
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** Ends early, without an error, when the signal is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}
