/** The capture times of recorded frames, requested in windows as stepping and playing need them. */
import { MAX_FRAME_TIMES, type Range, type Clip } from '../api/recording';

/** A window has about this many frames, well below the limit of one response. */
const WINDOW_FRAMES = 3_000;

/** The index of the newest time that is not after `time`; -1 when all are. */
export function indexAtOrBefore(times: readonly number[], time: number): number {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] as number) <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

type FetchTimes = (range: Range) => Promise<number[]>;

export class FrameTimes {
  readonly #fetchTimes: FetchTimes;
  #times: readonly number[] = [];
  /** The range for which `#times` is complete; both ends inclusive. */
  #range: Range | null = null;

  /**
   * `fetchTimes` returns the times in a range, oldest first; the end is exclusive, and the hub limits the number.
   */
  constructor(fetchTimes: FetchTimes) {
    this.#fetchTimes = fetchTimes;
  }

  /** The newest known frame at or before that time. */
  at(time: number): number | null {
    return this.#times[indexAtOrBefore(this.#times, time)] ?? null;
  }

  /** Whether the frames around that time are known. */
  knows(time: number): boolean {
    return this.#range !== null && time >= this.#range.since && time <= this.#range.until;
  }

  /** The frame after (1) or before (-1) that one; `null` at the end of the recordings. */
  async adjacentFrame(time: number, direction: 1 | -1, clips: readonly Clip[]): Promise<number | null> {
    for (const clip of direction === 1 ? clips : clips.toReversed()) {
      const { begun_at: begin, ended_at: end } = clip;
      if (direction === 1 ? end <= time : begin >= time) continue;
      let from = Math.min(Math.max(time, begin), end);
      for (;;) {
        if (!this.knows(from)) await this.load(from, clip, direction);
        const found = this.#adjacent(time, direction);
        if (found !== null) return found;
        const edge = direction === 1 ? (this.#range?.until ?? end) : (this.#range?.since ?? begin);
        // This clip has no more frames; the next clip may.
        if (direction === 1 ? edge >= end || edge <= from : edge <= begin || edge >= from) break;
        from = edge;
        await this.load(from, clip, direction);
      }
    }
    return null;
  }

  /** Requests the frames of that clip around that time, most of them in `direction`. */
  async load(time: number, clip: Clip, direction: 1 | -1): Promise<void> {
    const { begun_at: begin, ended_at: end } = clip;
    const rate = clip.frames / Math.max(1, end - begin);
    const ahead = WINDOW_FRAMES / Math.max(rate, 1e-6);
    const behind = ahead / 10;
    const since = Math.max(begin, time - (direction === 1 ? behind : ahead));
    const until = Math.min(end, time + (direction === 1 ? ahead : behind));
    // The end of the request is exclusive, and the last frame must be included.
    this.#times = await this.#loadAll({ since, until: until + 0.001 });
    this.#range = { since, until };
  }

  /** Frames may be denser here than elsewhere in the clip: those beyond the limit are requested too. */
  async #loadAll(range: Range): Promise<number[]> {
    const times = await this.#fetchTimes(range);
    for (let cut = times.length >= MAX_FRAME_TIMES; cut;) {
      const more = await this.#fetchTimes({ since: times.at(-1) as number, until: range.until });
      times.push(...more.slice(1));
      cut = more.length >= MAX_FRAME_TIMES;
    }
    return times;
  }

  #adjacent(time: number, direction: 1 | -1): number | null {
    const index = indexAtOrBefore(this.#times, time);
    if (direction === 1) return this.#times[index + 1] ?? null;
    return this.#times[this.#times[index] === time ? index - 1 : index] ?? null;
  }
}
