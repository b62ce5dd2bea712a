/** Recorded frames: the current one, and a few that are prefetched. */

import type { Recorded } from '../api/recording';

/** At most this many frames are kept, so that stepping back needs no request. */
const MAX_CACHED = 32;

/** Throws when there is no frame, or the hub does not respond. */
export type Fetch = (time: number, signal: AbortSignal) => Promise<Recorded>;

interface CacheEntry {
  stop: AbortController;
  recorded: Promise<Recorded>;
  loaded: boolean;
}

export class FrameCache {
  readonly #fetch: Fetch;
  /** By requested time, least recently used first. */
  readonly #entries = new Map<number, CacheEntry>();

  constructor(fetch: Fetch) {
    this.#fetch = fetch;
  }

  /** The frame nearest to that time, requested once. */
  get(time: number): Promise<Recorded> {
    const known = this.#entries.get(time);
    const entry = known ?? this.#request(time);
    this.#entries.delete(time);
    this.#entries.set(time, entry);
    this.#evict();
    return entry.recorded;
  }

  /** Requests the next frames; requests in flight for other times than these and `now` are aborted. */
  prefetch(now: number, next: readonly number[]): void {
    for (const [time, entry] of this.#entries) {
      if (!entry.loaded && time !== now && !next.includes(time)) this.#remove(time, entry);
    }
    for (const time of next) this.get(time).catch(() => {});
  }

  /** Aborts all requests and drops all frames. */
  clear(): void {
    for (const [time, entry] of this.#entries) this.#remove(time, entry);
  }

  #request(time: number): CacheEntry {
    const stop = new AbortController();
    const entry: CacheEntry = { stop, loaded: false, recorded: this.#fetch(time, stop.signal) };
    entry.recorded.then(
      () => (entry.loaded = true),
      // A failed request is repeated the next time.
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
