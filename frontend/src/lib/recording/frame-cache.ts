/** Recorded pictures on their way from the hub: the wanted one, and a few that will be wanted next. */

import type { Recorded } from '../api/recording';

/** As many pictures are kept: stepping back costs nothing. */
const MAX_CACHED = 32;

/** Throws when there is none, or the hub does not answer. */
export type Fetch = (time: number, signal: AbortSignal) => Promise<Recorded>;

interface CacheEntry {
  stop: AbortController;
  recorded: Promise<Recorded>;
  loaded: boolean;
}

export class FrameCache {
  readonly #fetch: Fetch;
  /** By the time that was asked for, the longest unused first. */
  readonly #entries = new Map<number, CacheEntry>();

  constructor(fetch: Fetch) {
    this.#fetch = fetch;
  }

  /** The picture nearest to that time; asked for once. */
  get(time: number): Promise<Recorded> {
    const known = this.#entries.get(time);
    const entry = known ?? this.#ask(time);
    this.#entries.delete(time);
    this.#entries.set(time, entry);
    this.#evict();
    return entry.recorded;
  }

  /** Asks for what will be wanted next; what is under way and neither of them nor `now` is given up. */
  prefetch(now: number, next: readonly number[]): void {
    for (const [time, entry] of this.#entries) {
      if (!entry.loaded && time !== now && !next.includes(time)) this.#remove(time, entry);
    }
    for (const time of next) this.get(time).catch(() => {});
  }

  /** Gives everything up. */
  clear(): void {
    for (const [time, entry] of this.#entries) this.#remove(time, entry);
  }

  #ask(time: number): CacheEntry {
    const stop = new AbortController();
    const entry: CacheEntry = { stop, loaded: false, recorded: this.#fetch(time, stop.signal) };
    entry.recorded.then(
      () => (entry.loaded = true),
      // What failed is asked for again the next time.
      () => this.#entries.get(time) === entry && this.#entries.delete(time)
    );
    return entry;
  }

  #evict(): void {
    for (const [time, entry] of this.#entries) {
      if (this.#entries.size <= MAX_CACHED) return;
      this.#remove(time, entry);
    }
  }

  #remove(time: number, entry: CacheEntry): void {
    this.#entries.delete(time);
    if (!entry.loaded) entry.stop.abort();
  }
}
