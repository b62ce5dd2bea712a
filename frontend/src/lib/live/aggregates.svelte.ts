import * as hub from '../api/hub';
import { errorMessage } from '../api/problem';
import type { SeriesId } from '../api/series-id';
import type { Bucket } from '../api/types';
import { MAX_POINTS, type Span } from './spans';
import { poll } from './poll';
import type { Point } from './series.svelte';

/** A day is reloaded every minute, a year every quarter of an hour. */
const SOONEST_MS = 60_000;
const LATEST_MS = 900_000;

/** A series over more than the live hour, as aggregates of the hub. */
export class AggregatedSeries {
  /** Oldest first. */
  points = $state.raw<readonly Point[]>([]);
  /** Whether the hub has responded. */
  known = $state(false);
  /** Why the newest request failed. */
  problem = $state<string | null>(null);

  /** Polls until the returned function is called. `now` is the hub's time in Unix seconds. */
  start(series: SeriesId, span: Span, now: () => number): () => void {
    const { bucket } = span;
    this.points = [];
    this.known = false;
    this.problem = null;
    if (!bucket) return () => {};
    const everyMs = Math.min(LATEST_MS, Math.max(SOONEST_MS, bucket.secs * 1000));
    return poll(everyMs, async (signal) => {
      const since = Math.floor(now() - span.secs);
      try {
        const page = await hub.buckets(series, bucket.width, { since, limit: MAX_POINTS }, signal);
        this.points = page.items.map((one) => pointOf(one, bucket.secs));
        this.known = true;
        this.problem = null;
      } catch (thrown) {
        if (!signal.aborted) this.problem = errorMessage(thrown);
      }
    });
  }
}

/** An average is drawn in the middle of its bucket. */
function pointOf({ start, avg, min, max }: Bucket, secs: number): Point {
  return { t: start + secs / 2, v: avg ?? null, span: secs, low: min ?? null, high: max ?? null };
}
