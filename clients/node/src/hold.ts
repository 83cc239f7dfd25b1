// Whether a request that waits keeps the process alive.

import type { Socket } from "node:net";

export class Hold {
  #socket: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #held = true;

  attach(socket: Socket, timer: NodeJS.Timeout): void {
    this.#socket = socket;
    this.#timer = timer;
    this.#apply();
  }
  detach(): void {
    this.#socket = undefined;
    this.#timer = undefined;
  }
  set(held: boolean): void {
    this.#held = held;
    this.#apply();
  }

  #apply(): void {
    if (this.#held) {
      this.#socket?.ref();
      this.#timer?.ref();
    } else {
      this.#socket?.unref();
      this.#timer?.unref();
    }
  }
}
