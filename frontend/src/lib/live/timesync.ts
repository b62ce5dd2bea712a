import { ClockOffset } from './offset';

/** After a connect this many requests follow each other, each after the response to the one before. */
const INITIAL_REQUESTS = 8;
const POLL_MS = 10_000;

/** Measures the offset of the hub's clock over the live connection, for as long as it is started. */
export class TimeSync {
  readonly #send: (clientTime: number) => void;
  #offset = new ClockOffset();
  #responses = 0;
  #next: ReturnType<typeof setTimeout> | undefined;

  /** `send` sends a request; the hub returns its `clientTime` with the response. */
  constructor(send: (clientTime: number) => void) {
    this.#send = send;
  }

  /** The current estimate; a new connection starts a new one, because its route to the hub may differ. */
  get offset(): ClockOffset {
    return this.#offset;
  }

  start(): void {
    this.stop();
    this.#offset = new ClockOffset();
    this.#responses = 0;
    this.#sendRequest();
  }

  /** A response has just arrived. */
  addResponse(clientTime: number, hubTime: number): void {
    this.#offset.addSample(clientTime, Date.now() / 1000, hubTime);
    this.#responses += 1;
    if (this.#responses < INITIAL_REQUESTS) this.#sendRequest();
  }

  stop(): void {
    clearTimeout(this.#next);
    this.#next = undefined;
  }

  #sendRequest(): void {
    clearTimeout(this.#next);
    this.#next = setTimeout(() => this.#sendRequest(), POLL_MS);
    this.#send(Date.now() / 1000);
  }
}
