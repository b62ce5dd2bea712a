import { ApiProblem, errorMessage } from '../api/problem';
import type { Range, Recorded, Clip } from '../api/recording';
import { FrameCache } from './frame-cache';
import { advance, snapToClip } from './timeline';
import { FrameTimes } from './frame-times';

export const SPEEDS = [0.5, 1, 2, 4, 8, 16] as const;
/** The interval at which playback advances; shorter than the interval between frames. */
const TICK_MS = 40;
/** This many frames are prefetched. */
const PREFETCH = 3;

/** Where frames come from and where they are shown; tests provide their own. */
export interface PlaybackBackend {
  fetch: (time: number, signal: AbortSignal) => Promise<Recorded>;
  times: (range: Range) => Promise<number[]>;
  /** Resolves when the frame is on the screen. */
  show: (jpeg: Blob) => Promise<void>;
}

/** Plays the recordings of one camera: from any time, frame by frame, and at several speeds. */
export class Player {
  /** The position (Unix seconds); `null`: the live view is shown. */
  at = $state<number | null>(null);
  /** The capture time of the shown frame. */
  shownAt = $state<number | null>(null);
  playing = $state(false);
  speed = $state<number>(1);
  error = $state<string | null>(null);
  /** The clips of the day, oldest first. */
  clips = $state.raw<readonly Clip[]>([]);

  readonly #backend: PlaybackBackend;
  readonly #cache: FrameCache;
  readonly #times: FrameTimes;
  #target: number | null = null;
  #busy = false;
  #loading = false;
  #interval: ReturnType<typeof setInterval> | undefined;
  #tickedAt = 0;

  constructor(backend: PlaybackBackend) {
    this.#backend = backend;
    this.#cache = new FrameCache(backend.fetch);
    this.#times = new FrameTimes(backend.times);
  }

  /** Goes to the recorded time nearest to `time`. */
  seek(time: number): void {
    const at = snapToClip(time, this.clips);
    if (at === null) return;
    this.at = at;
    this.#request(this.#times.knows(at) ? (this.#times.at(at) ?? at) : at);
  }

  /** Steps to the next (1) or the previous (-1) frame. */
  async step(direction: 1 | -1): Promise<void> {
    this.pause();
    const from = this.shownAt ?? this.at;
    if (from === null || this.#loading) return;
    const time = await this.#load(() => this.#times.adjacentFrame(from, direction, this.clips));
    if (time === null || time === undefined || this.at === null) return;
    this.at = time;
    this.#request(time);
  }

  play(): void {
    if (this.playing || this.clips.length === 0) return;
    // At the end, or without a position: from the beginning.
    if (this.at === null || advance(this.at, 0.001, this.clips) === null) this.seek(-Infinity);
    this.playing = true;
    this.#tickedAt = Date.now();
    this.#interval = setInterval(() => this.#tick(), TICK_MS);
  }

  pause(): void {
    clearInterval(this.#interval);
    this.playing = false;
  }

  /** Returns to the live view, and stops everything. */
  leave(): void {
    this.pause();
    this.#cache.clear();
    this.at = this.shownAt = this.#target = this.error = null;
  }

  #tick(): void {
    const now = Date.now();
    const passed = (now - this.#tickedAt) / 1000;
    this.#tickedAt = now;
    if (this.at === null) return this.pause();
    const at = advance(this.at, passed * this.speed, this.clips);
    if (at === null) return this.pause();
    this.at = at;
    this.#loadTimes(at);
    const time = this.#times.knows(at) ? this.#times.at(at) : null;
    if (time !== null) this.#request(time);
  }

  /** While playing, the frame times must be known well in advance. */
  #loadTimes(at: number): void {
    const ahead = advance(at, this.speed, this.clips) ?? at;
    if (this.#times.knows(at) && this.#times.knows(ahead)) return;
    const from = this.#times.knows(at) ? ahead : at;
    const clip = this.clips.find((one) => snapToClip(from, [one]) === from);
    if (clip && !this.#loading) void this.#load(() => this.#times.load(from, clip, 1));
  }

  async #load<Result>(action: () => Promise<Result>): Promise<Result | undefined> {
    this.#loading = true;
    try {
      return await action();
    } catch (thrown) {
      this.error = errorMessage(thrown);
      return undefined;
    } finally {
      this.#loading = false;
    }
  }

  #request(time: number): void {
    if (time === this.#target) return;
    this.#target = time;
    if (!this.#busy) void this.#showFrames();
  }

  /** One frame after the other; a time that is no longer wanted is skipped. */
  async #showFrames(): Promise<void> {
    this.#busy = true;
    let shown: number | null = null;
    for (let time = this.#target; time !== null && time !== shown; time = this.#target) {
      shown = time;
      await this.#show(time);
    }
    this.#busy = false;
  }

  async #show(time: number): Promise<void> {
    try {
      const loading = this.#cache.get(time);
      if (this.playing) this.#cache.prefetch(time, this.#next(time));
      const { jpeg, capturedAt } = await loading;
      // The player was left in the meantime.
      if (this.at === null) return;
      await this.#backend.show(jpeg);
      this.shownAt = capturedAt;
      this.error = null;
    } catch (thrown) {
      if (this.at === null || (thrown instanceof DOMException && thrown.name === 'AbortError')) return;
      const gone = thrown instanceof ApiProblem && thrown.kind === 'not_found';
      this.error = gone ? 'This frame has been deleted.' : errorMessage(thrown);
    }
  }

  /** The frames of the next ticks. */
  #next(time: number): number[] {
    const next = new Set<number>();
    const stride = Math.max((2 * TICK_MS * this.speed) / 1000, 0.02);
    for (let ahead = stride; next.size < PREFETCH && ahead <= stride * 24; ahead += stride) {
      const at = this.#times.knows(time + ahead) ? this.#times.at(time + ahead) : null;
      if (at !== null && at > time) next.add(at);
    }
    return [...next];
  }
}
