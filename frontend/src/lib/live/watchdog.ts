/**
 * Detects a live connection without messages.
 *
 * A pulled-out cable or a hub that hangs does not close a connection: only the absence of messages shows it.
 * So the page probes the hub after a while, and closes the connection when no response comes. All times are
 * of a monotonic clock.
 */

/** After this time without a message the hub is probed: while frames are expected, and otherwise. */
export const PROBE_MS = { watching: 3_000, idle: 8_000 } as const;
/**
 * The connection counts as unresponsive this long after the probe: a response usually takes some
 * milliseconds.
 */
export const REPORT_MS = 1_000;
/** The connection is closed this long after the probe. */
export const ANSWER_MS = 4_000;
/** The connection must be open and have its first message within this time. */
export const OPEN_MS = 10_000;
const CHECK_MS = 500;
/** A connection that is open again within this time was slow, not dead. */
const SLOW_MS = 3_000;
const MAX_TIMEOUT_FACTOR = 8;

export interface WatchdogOptions {
  /** Sends a message that the hub answers at once. */
  probe: () => void;
  /** Whether frames are expected. */
  expectsFrames: () => boolean;
  /** The probe has no response yet: seconds since the last message; `null` when one came after all. */
  onUnresponsive: (secs: number | null) => void;
  /** The connection is to be closed. */
  onLost: () => void;
}

export class ConnectionWatchdog {
  readonly #options: WatchdogOptions;
  #interval: ReturnType<typeof setInterval> | undefined;
  /** The time of the last message; before the first, the time of the connection attempt. */
  #messageAt = 0;
  #open = false;
  #probedAt: number | null = null;
  #checkedAt = 0;
  #unresponsive = false;
  #gaveUpAt = -Infinity;
  /**
   * Factor of `ANSWER_MS`. A message arrives only as a whole, and a big frame on a slow network takes longer
   * than `ANSWER_MS`: with a fixed timeout each attempt would be closed in the middle of its first frame.
   */
  #timeoutFactor = 1;

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  /** A connection attempt starts. */
  start(): void {
    this.stop();
    this.#messageAt = this.#checkedAt = performance.now();
    this.#interval = setInterval(() => this.#check(), CHECK_MS);
  }

  /** A message has arrived. */
  messageReceived(isFrame: boolean): void {
    const now = performance.now();
    if (!this.#open && now - this.#gaveUpAt < SLOW_MS)
      this.#timeoutFactor = Math.min(MAX_TIMEOUT_FACTOR, 2 * this.#timeoutFactor);
    else if (isFrame && now - this.#messageAt < PROBE_MS.watching) this.#timeoutFactor = 1;
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
    // While the page was busy or hidden, messages may have waited together with this check: that time does
    // not count.
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
