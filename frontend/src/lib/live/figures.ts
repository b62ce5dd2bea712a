/** How old pictures are when they are seen, and how many a second: figures over the last frames. */

const KEPT = 128;
/** A rate is of the last seconds, not of the minute before. */
const RATE_SECS = 3;
/** An interval is usual when it is the middle one of the last few; a pause among them does not change it. */
const INTERVALS = 8;

/** In seconds. */
export interface Percentiles {
  p50: number;
  p99: number;
}

/** The value that such a share (0 to 1) of them does not exceed (nearest rank); `sorted` is not empty. */
export function percentile(sorted: readonly number[], share: number): number {
  const rank = Math.ceil(share * sorted.length);
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1] as number;
}

/** What was painted lately. */
export class Painted {
  #latencies: number[] = [];
  #times: number[] = [];

  /** A frame was painted at that time (Unix seconds), so many seconds after it was captured; `null`: not known. */
  add(at: number, latencySecs: number | null): void {
    this.#times = [...this.#times.slice(1 - KEPT), at];
    if (latencySecs !== null) this.#latencies = [...this.#latencies.slice(1 - KEPT), latencySecs];
  }

  /** Over the last 128 frames; `null` before the first. */
  get latency(): Percentiles | null {
    if (this.#latencies.length === 0) return null;
    const sorted = this.#latencies.toSorted((a, b) => a - b);
    return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
  }

  /** Seconds between two frames, usually; `null` before there were three. */
  get intervalSecs(): number | null {
    const lately = this.#times.slice(-1 - INTERVALS);
    if (lately.length < 3) return null;
    const intervals = lately.slice(1).map((at, place) => at - (lately[place] as number));
    return percentile(
      intervals.toSorted((a, b) => a - b),
      0.5
    );
  }

  /** Frames a second over the last three seconds before `now`; 0 when fewer than two were painted in them. */
  fps(now: number): number {
    const lately = this.#times.filter((at) => at > now - RATE_SECS && at <= now);
    const [first, last] = [lately[0], lately.at(-1)];
    if (first === undefined || last === undefined || last <= first) return 0;
    // A camera that stopped is slower with every moment that brings no frame.
    const usual = (last - first) / (lately.length - 1);
    return (lately.length - 1) / (Math.max(last, now - usual) - first);
  }
}
