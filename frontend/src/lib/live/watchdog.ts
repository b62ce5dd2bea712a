/**
 * Notices when the live connection brings no messages any more.
 *
 * A cable that was pulled out or a hub that hangs ends no connection: only the absence of messages shows it. So the hub
 * is asked for one after a while, and the connection is given up when no answer comes. All times are of a clock of this
 * browser that is never set.
 */

/** Without a message for so long the hub is asked for one: while pictures are expected, and otherwise. */
export const PROBE_MS = { watching: 3_000, idle: 8_000 } as const;
/** How long after the question the connection counts as unresponsive: an answer usually takes some milliseconds. */
export const REPORT_MS = 1_000;
/** How long after the question the connection is given up. */
export const ANSWER_MS = 4_000;
/** How long the connection may take to open and to bring its first message. */
export const OPEN_MS = 10_000;
const CHECK_MS = 500;
/** A connection that is open again within this time was slow, not dead. */
const SLOW_MS = 3_000;
const MAX_TIMEOUT_FACTOR = 8;

export interface WatchdogOptions {
  /** Asks the hub for a message. */
  probe: () => void;
  /** Whether pictures are expected. */
  expectsFrames: () => boolean;
  /** The question has not been answered: seconds since the last message; `null` when one came after all. */
  onUnresponsive: (secs: number | null) => void;
  /** The connection is to be given up. */
  onLost: () => void;
}

export class ConnectionWatchdog {
  readonly #options: WatchdogOptions;
  #interval: ReturnType<typeof setInterval> | undefined;
  /** When the last message came; before the first, when the connection began to open. */
  #messageAt = 0;
  #open = false;
  #probedAt: number | null = null;
  #checkedAt = 0;
  #unresponsive = false;
  #gaveUpAt = -Infinity;
  /**
   * By how much longer an answer may take. A message shows only when it is whole, and a big picture on a slow line takes
   * longer than `ANSWER_MS`: without more patience each attempt would be given up in the middle of the first picture.
   */
  #timeoutFactor = 1;

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  /** A connection begins to open. */
  start(): void {
    this.stop();
    this.#messageAt = this.#checkedAt = performance.now();
    this.#interval = setInterval(() => this.#check(), CHECK_MS);
  }

  /** A message has come, `picture` says of which kind. */
  messageReceived(picture: boolean): void {
    const now = performance.now();
    if (!this.#open && now - this.#gaveUpAt < SLOW_MS)
      this.#timeoutFactor = Math.min(MAX_TIMEOUT_FACTOR, 2 * this.#timeoutFactor);
    else if (picture && now - this.#messageAt < PROBE_MS.watching) this.#timeoutFactor = 1;
    this.#open = true;
    this.#messageAt = now;
    this.#probedAt = null;
    this.#report(null);
  }

  /** The connection has ended. */
  stop(): void {
    clearInterval(this.#interval);
    this.#interval = undefined;
    this.#open = false;
    this.#probedAt = null;
    this.#report(null);
  }

  #check(): void {
    const { probe, expectsFrames, onLost } = this.#options;
    const now = performance.now();
    // While the page itself was busy, or hidden, messages may have waited with this check: that time does not count.
    const late = Math.max(0, now - this.#checkedAt - CHECK_MS);
    this.#checkedAt = now;
    if (late > CHECK_MS) {
      if (this.#probedAt !== null) this.#probedAt += late;
      if (!this.#open) this.#messageAt += late;
    }
    const idleMs = now - this.#messageAt;
    if (!this.#open) {
      if (idleMs >= OPEN_MS) onLost();
    } else if (this.#probedAt === null) {
      if (idleMs < (expectsFrames() ? PROBE_MS.watching : PROBE_MS.idle)) return;
      this.#probedAt = now;
      probe();
    } else if (now - this.#probedAt >= ANSWER_MS * this.#timeoutFactor) {
      this.#gaveUpAt = now;
      onLost();
    } else if (now - this.#probedAt >= REPORT_MS) this.#report(Math.floor(idleMs / 1000));
  }

  #report(secs: number | null): void {
    if (secs === null && !this.#unresponsive) return;
    this.#unresponsive = secs !== null;
    this.#options.onUnresponsive(secs);
  }
}
