import { ClockOffset } from './offset';

/** After a connect this many requests follow each other, each after the response to the one before. */
const FIRST = 8;
const POLL_MS = 10_000;

/** Measures the offset of the hub's clock over the live connection, for as long as it is started. */
export class TimeSync {
  readonly #ask: (clientTime: number) => void;
  #offset = new ClockOffset();
  #answered = 0;
  #next: ReturnType<typeof setTimeout> | undefined;

  /** `ask` sends a request; the hub returns its `clientTime` with the response. */
  constructor(ask: (clientTime: number) => void) {
    this.#ask = ask;
  }

  /** The current estimate; a new connection starts a new one, because its route to the hub may differ. */
  get offset(): ClockOffset {
    return this.#offset;
  }

  start(): void {
    this.stop();
    this.#offset = new ClockOffset();
    this.#answered = 0;
    this.#askNow();
  }

  /** A response has just arrived. */
  answer(clientTime: number, hubTime: number): void {
    this.#offset.addSample(clientTime, Date.now() / 1000, hubTime);
    this.#answered += 1;
    if (this.#answered < FIRST) this.#askNow();
  }

  stop(): void {
    clearTimeout(this.#next);
    this.#next = undefined;
  }

  #askNow(): void {
    clearTimeout(this.#next);
    this.#next = setTimeout(() => this.#askNow(), POLL_MS);
    this.#ask(Date.now() / 1000);
  }
}
