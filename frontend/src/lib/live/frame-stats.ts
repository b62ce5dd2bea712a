/** The delay of the painted pictures and their rate, over the last seconds. */

/** Delays are those of the last 10 seconds, so that a freeze or a restart is forgotten soon. */
const DELAY_SECS = 10;
/** A rate is that of the last 3 seconds. */
const RATE_SECS = 3;
/** An interval is usual when it is the middle one of the last few; a pause among them does not change it. */
const INTERVALS = 8;
/** How many frames are kept at most: 10 seconds at 60 frames a second. */
const MAX_FRAMES = 600;

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

/** The recently painted frames. */
export class FrameStats {
  #frames: { at: number; latencySecs: number | null }[] = [];

  /** A frame was painted at that time (Unix seconds), this long after its capture; `null`: not known. */
  add(at: number, latencySecs: number | null): void {
    // A clock that was set back leaves no frames of the future behind.
    const kept = this.#frames.filter((frame) => frame.at <= at).slice(1 - MAX_FRAMES);
    // The last few stay, however old: the interval of a slow camera follows from them.
    const old = kept.filter((frame) => frame.at <= at - DELAY_SECS).length;
    this.#frames = [...kept.slice(Math.max(0, Math.min(old, kept.length - INTERVALS))), { at, latencySecs }];
  }

  /** Over the last 10 seconds before `now`, or of the newest frame if there is none; `null` before the first. */
  latency(now: number): Percentiles | null {
    const known = this.#frames.filter((frame) => frame.latencySecs !== null);
    const lately = known.filter((frame) => frame.at > now - DELAY_SECS);
    const sorted = (lately.length > 0 ? lately : known.slice(-1)).map((frame) => frame.latencySecs as number);
    if (sorted.length === 0) return null;
    sorted.sort((a, b) => a - b);
    return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
  }

  /** Seconds between two frames, usually; `null` before there were three. */
  get intervalSecs(): number | null {
    const lately = this.#frames.slice(-1 - INTERVALS).map((frame) => frame.at);
    if (lately.length < 3) return null;
    const intervals = lately.slice(1).map((at, place) => at - (lately[place] as number));
    return percentile(
      intervals.toSorted((a, b) => a - b),
      0.5
    );
  }

  /** Frames a second over the last three seconds before `now`; 0 when fewer than two were painted in them. */
  fps(now: number): number {
    const lately = this.#frames.map((frame) => frame.at).filter((at) => at > now - RATE_SECS && at <= now);
    const [first, last] = [lately[0], lately.at(-1)];
    if (first === undefined || last === undefined || last <= first) return 0;
    // A camera that stopped is slower with every moment that brings no frame.
    const usual = (last - first) / (lately.length - 1);
    return (lately.length - 1) / (Math.max(last, now - usual) - first);
  }
}
