/** When the frames of a recording were captured: asked of the hub in windows, as far as stepping and playing need. */
import { MOST_FRAMES, type Range, type Stretch } from '../api/recording';

/** A window is of about so many frames, well below what the hub tells at once. */
const WINDOW_FRAMES = 3_000;

/** The place of the newest time that is not after `time`; -1 when all are. */
export function placeOf(times: readonly number[], time: number): number {
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
  /** What `#times` is whole for; both ends inclusive. */
  #known: Range | null = null;

  /** `ask` answers with the times in a range, oldest first; the end is exclusive, and very many are cut off. */
  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** The newest frame at or before that time, as far as is known without asking. */
  at(time: number): number | null {
    return this.#times[placeOf(this.#times, time)] ?? null;
  }

  /** Whether the frames about that time are known. */
  knows(time: number): boolean {
    return this.#known !== null && time >= this.#known.since && time <= this.#known.until;
  }

  /** The frame after (1) or before (-1) that one; `null` at the end of what was recorded. */
  async neighbour(time: number, way: 1 | -1, stretches: readonly Stretch[]): Promise<number | null> {
    for (const stretch of way === 1 ? stretches : stretches.toReversed()) {
      const { begun_at: begin, ended_at: end } = stretch;
      if (way === 1 ? end <= time : begin >= time) continue;
      let from = Math.min(Math.max(time, begin), end);
      for (;;) {
        if (!this.knows(from)) await this.load(from, stretch, way);
        const found = this.#beside(time, way);
        if (found !== null) return found;
        const edge = way === 1 ? (this.#known?.until ?? end) : (this.#known?.since ?? begin);
        // This stretch has no more: its neighbour may.
        if (way === 1 ? edge >= end || edge <= from : edge <= begin || edge >= from) break;
        from = edge;
        await this.load(from, stretch, way);
      }
    }
    return null;
  }

  /** Asks for the frames of that stretch about that time: mostly those that lie `way` of it. */
  async load(time: number, stretch: Stretch, way: 1 | -1): Promise<void> {
    const { begun_at: begin, ended_at: end } = stretch;
    const rate = stretch.frames / Math.max(1, end - begin);
    const ahead = WINDOW_FRAMES / Math.max(rate, 1e-6);
    const behind = ahead / 10;
    const since = Math.max(begin, time - (way === 1 ? behind : ahead));
    const until = Math.min(end, time + (way === 1 ? ahead : behind));
    // The end of what we ask for is exclusive, and the last frame shall be in it.
    this.#times = await this.#all({ since, until: until + 0.001 });
    this.#known = { since, until };
  }

  /** Frames may lie much closer here than elsewhere in the stretch: what was cut off is asked for too. */
  async #all(range: Range): Promise<number[]> {
    const times = await this.#ask(range);
    for (let cut = times.length >= MOST_FRAMES; cut;) {
      const more = await this.#ask({ since: times.at(-1) as number, until: range.until });
      times.push(...more.slice(1));
      cut = more.length >= MOST_FRAMES;
    }
    return times;
  }

  #beside(time: number, way: 1 | -1): number | null {
    const place = placeOf(this.#times, time);
    if (way === 1) return this.#times[place + 1] ?? null;
    return this.#times[this.#times[place] === time ? place - 1 : place] ?? null;
  }
}
