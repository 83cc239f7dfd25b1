// So many at a time, the others in the order they came.

export class Turns {
  #free: number;
  readonly #queue: (() => void)[] = [];

  constructor(most: number) {
    this.#free = most;
  }

  /** As `work`, begun when it is its turn. */
  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) {
      --this.#free;
    } else {
      await new Promise<void>((next) => this.#queue.push(next));
    }
    try {
      return await work();
    } finally {
      const next = this.#queue.shift();
      if (next) {
        next();
      } else {
        ++this.#free;
      }
    }
  }
}
