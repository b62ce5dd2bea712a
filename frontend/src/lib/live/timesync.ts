import { ClockOffset } from './offset';

/** So many questions at once after a connect, each after the answer to the one before. */
const FIRST = 8;
const POLL_MS = 10_000;

/** Asks the hub what time it is, on the live connection, for as long as it is started. */
export class TimeSync {
  readonly #ask: (clientTime: number) => void;
  #offset = new ClockOffset();
  #answered = 0;
  #next: ReturnType<typeof setTimeout> | undefined;

  /** `ask` sends the question; what it says comes back with the answer. */
  constructor(ask: (clientTime: number) => void) {
    this.#ask = ask;
  }

  /** What is known; a new connection begins anew, for the way to the hub may be another. */
  get offset(): ClockOffset {
    return this.#offset;
  }

  start(): void {
    this.stop();
    this.#offset = new ClockOffset();
    this.#answered = 0;
    this.#askNow();
  }

  /** The hub's answer has come, just now. */
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
