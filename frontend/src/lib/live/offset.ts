/** How far the hub's clock is ahead of ours, from questions with known round trips (as NTP does it). */

const MAX_SAMPLES = 8;
/** Browsers tell the time by the millisecond; two clocks that only drift stay this close together. */
const RESOLUTION_SECS = 0.005;

interface Sample {
  offsetSecs: number;
  roundTripSecs: number;
}

export class ClockOffset {
  #samples: Sample[] = [];

  /** Takes an answer: when we asked, when the answer came (both by our clock), and what the hub's clock then said. */
  addSample(sentAt: number, receivedAt: number, hubTime: number): void {
    const roundTripSecs = receivedAt - sentAt;
    // Our own clock was set back while we waited.
    if (!(roundTripSecs >= 0)) return;
    const sample = { offsetSecs: hubTime - (sentAt + receivedAt) / 2, roundTripSecs };
    const best = this.#best();
    // The true offset lies within half a round trip of a sample: two that exclude each other mean a clock was set.
    if (best && Math.abs(sample.offsetSecs - best.offsetSecs) > halves(sample, best) + RESOLUTION_SECS)
      this.#samples = [];
    this.#samples = [...this.#samples.slice(1 - MAX_SAMPLES), sample];
  }

  /** Seconds the hub is ahead, by the sample that was under way the shortest; `null` before the first. */
  get secs(): number | null {
    return this.#best()?.offsetSecs ?? null;
  }

  /** How wrong that can be at most, in seconds: all of the round trip may have been on one way. */
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
