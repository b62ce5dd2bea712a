import { createSubscriber } from 'svelte/reactivity';

/** A clock that ticks once a second, and only while the page reads it. */
export class Clock {
  readonly #skewSecs: () => number;
  readonly #subscribe = createSubscriber((update) => {
    const interval = setInterval(update, 1000);
    return () => clearInterval(interval);
  });

  constructor(skewSecs: () => number) {
    this.#skewSecs = skewSecs;
  }

  /** The hub's time in Unix seconds. */
  get now(): number {
    this.#subscribe();
    return Date.now() / 1000 + this.#skewSecs();
  }
}
