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

type Ask = (range: Range) => Promise<number[]>;

export class FrameTimes {
  readonly #ask: Ask;
  #times: readonly number[] = [];
  /** The range for which `#times` is complete; both ends inclusive. */
  #known: Range | null = null;

  /**
   * `ask` returns the times in a range, oldest first; the end is exclusive, and the hub limits the number.
   */
  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** The newest known frame at or before that time. */
  at(time: number): number | null {
    return this.#times[indexAtOrBefore(this.#times, time)] ?? null;
  }

  /** Whether the frames around that time are known. */
  knows(time: number): boolean {
    return this.#known !== null && time >= this.#known.since && time <= this.#known.until;
  }

  /** The frame after (1) or before (-1) that one; `null` at the end of the recordings. */
  async adjacentFrame(time: number, direction: 1 | -1, clips: readonly Clip[]): Promise<number | null> {
    for (const clip of direction === 1 ? clips : clips.toReversed()) {
      const { begun_at: begin, ended_at: end } = clip;
      if (direction === 1 ? end <= time : begin >= time) continue;
      let from = Math.min(Math.max(time, begin), end);
      for (;;) {
        if (!this.knows(from)) await this.load(from, clip, direction);
        const found = this.#beside(time, direction);
        if (found !== null) return found;
        const edge = direction === 1 ? (this.#known?.until ?? end) : (this.#known?.since ?? begin);
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
    this.#times = await this.#all({ since, until: until + 0.001 });
    this.#known = { since, until };
  }

  /** Frames may be denser here than elsewhere in the clip: those beyond the limit are requested too. */
  async #all(range: Range): Promise<number[]> {
    const times = await this.#ask(range);
    for (let cut = times.length >= MAX_FRAME_TIMES; cut;) {
      const more = await this.#ask({ since: times.at(-1) as number, until: range.until });
      times.push(...more.slice(1));
      cut = more.length >= MAX_FRAME_TIMES;
    }
    return times;
  }

  #beside(time: number, direction: 1 | -1): number | null {
    const place = indexAtOrBefore(this.#times, time);
    if (direction === 1) return this.#times[place + 1] ?? null;
    return this.#times[this.#times[place] === time ? place - 1 : place] ?? null;
  }
}
