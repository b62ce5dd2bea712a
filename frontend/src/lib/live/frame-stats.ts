/** Delay and rate of the painted frames, over the last seconds. */

/** Delays of the last 10 seconds count, so that a freeze or a restart is forgotten soon. */
const DELAY_SECS = 10;
/** The rate is that of the last 3 seconds. */
const RATE_SECS = 3;
/** The typical interval is the median of the last few; a single pause does not change it. */
const INTERVALS = 8;
/** At most this many frames are kept: 10 seconds at 60 frames per second. */
const MAX_FRAMES = 600;

/** In seconds. */
export interface Percentiles {
  p50: number;
  p99: number;
}

/** The nearest-rank percentile: at least that fraction (0 to 1) of the values are not greater. `sorted` is not empty. */
export function percentile(sorted: readonly number[], fraction: number): number {
  const rank = Math.ceil(fraction * sorted.length);
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1] as number;
}

/** The recently painted frames. */
export class FrameStats {
  #frames: { at: number; latencySecs: number | null }[] = [];

  /** A frame was painted at that time (Unix seconds), this long after its capture (`null`: unknown). */
  add(at: number, latencySecs: number | null): void {
    // After the clock was set back, frames of the future are dropped.
    const kept = this.#frames.filter((frame) => frame.at <= at).slice(1 - MAX_FRAMES);
    // The last few are kept at any age: they give the interval of a slow camera.
    const old = kept.filter((frame) => frame.at <= at - DELAY_SECS).length;
    this.#frames = [...kept.slice(Math.max(0, Math.min(old, kept.length - INTERVALS))), { at, latencySecs }];
  }

  /**
   * Over the last 10 seconds before `now`, or of the newest frame if there is none; `null` before the first.
   */
  latency(now: number): Percentiles | null {
    const known = this.#frames.filter((frame) => frame.latencySecs !== null);
    const recent = known.filter((frame) => frame.at > now - DELAY_SECS);
    const sorted = (recent.length > 0 ? recent : known.slice(-1)).map((frame) => frame.latencySecs as number);
    if (sorted.length === 0) return null;
    sorted.sort((a, b) => a - b);
    return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
  }

  /** The typical interval of frames in seconds; `null` before the third frame. */
  get intervalSecs(): number | null {
    const recent = this.#frames.slice(-1 - INTERVALS).map((frame) => frame.at);
    if (recent.length < 3) return null;
    const intervals = recent.slice(1).map((at, index) => at - (recent[index] as number));
    return percentile(
      intervals.toSorted((a, b) => a - b),
      0.5
    );
  }

  /** Frames per second over the last three seconds before `now`; 0 with fewer than two. */
  fps(now: number): number {
    const recent = this.#frames.map((frame) => frame.at).filter((at) => at > now - RATE_SECS && at <= now);
    const [first, last] = [recent[0], recent.at(-1)];
    if (first === undefined || last === undefined || last <= first) return 0;
    // The rate of a camera that stopped falls with the time since its last frame.
    const interval = (last - first) / (recent.length - 1);
    return (recent.length - 1) / (Math.max(last, now - interval) - first);
  }
}
