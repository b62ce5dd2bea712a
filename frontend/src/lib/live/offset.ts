/**
 * The offset between the hub's clock and the browser's, from requests with known round trips (as NTP does
 * it).
 */

const MAX_SAMPLES = 8;
/**
 * The resolution of browser clocks is a millisecond; the offset of two clocks that only drift stays within
 * this.
 */
const RESOLUTION_SECS = 0.005;

interface Sample {
  offsetSecs: number;
  roundTripSecs: number;
}

export class ClockOffset {
  #samples: Sample[] = [];

  /**
   * Adds a response: when it was requested, when it arrived (both by the browser's clock), and the hub's time
   * in it.
   */
  addSample(sentAt: number, receivedAt: number, hubTime: number): void {
    const roundTripSecs = receivedAt - sentAt;
    // The browser's clock was set back in between.
    if (!(roundTripSecs >= 0)) return;
    const sample = { offsetSecs: hubTime - (sentAt + receivedAt) / 2, roundTripSecs };
    const best = this.#best();
    // The true offset is within half a round trip of a sample: two samples that exclude each other mean a
    // clock was set.
    if (best && Math.abs(sample.offsetSecs - best.offsetSecs) > halves(sample, best) + RESOLUTION_SECS)
      this.#samples = [];
    this.#samples = [...this.#samples.slice(1 - MAX_SAMPLES), sample];
  }

  /**
   * How many seconds the hub's clock is ahead, by the sample with the shortest round trip; `null` before the
   * first.
   */
  get secs(): number | null {
    return this.#best()?.offsetSecs ?? null;
  }

  /** The maximum error in seconds: the whole round trip may have been in one direction. */
  get maxErrorSecs(): number | null {
    const best = this.#best();
    return best ? best.roundTripSecs / 2 : null;
  }

  get count(): number {
    return this.#samples.length;
  }

  #best(): Sample | undefined {
    return this.#samples.reduce<Sample | undefined>(
      (best, one) => (best && best.roundTripSecs <= one.roundTripSecs ? best : one),
      undefined
    );
  }
}

const halves = (one: Sample, other: Sample): number => (one.roundTripSecs + other.roundTripSecs) / 2;
