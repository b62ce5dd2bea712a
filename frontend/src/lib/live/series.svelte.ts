import type { SeriesId } from '../api/series-id';
import type { Bucket, Reading } from '../api/types';

/** The page keeps this much of a series, in seconds. */
export const WINDOW_SECS = 3600;

/** One value on a chart. */
export interface Point {
  /** Unix seconds. */
  t: number;
  /** `null`: the measurement failed. */
  v: number | null;
  /** The seconds that the value covers: 0 for a reading, 60 for a minute's average. */
  span: number;
  /** Minimum and maximum in that time, for an average. */
  low?: number | null;
  high?: number | null;
}

/** The last hour of one series: its points in order of time, and the newest reading. */
export class Series implements SeriesId {
  readonly moduleId: string;
  readonly type: string;
  readonly channel: string | null;

  /** The newest reading, or `null` while only averages are known. */
  newest = $state.raw<Reading | null>(null);

  /** Increases with every change of `points`, so that a chart can follow. */
  version = $state(0);

  /**
   * Start of the missing history (Unix seconds): `-Infinity` at first, later the newest reading before a
   * connection loss, `null` while nothing is missing.
   */
  backfillSince = $state<number | null>(-Infinity);

  #points: Point[] = [];

  constructor({ moduleId, type, channel }: SeriesId) {
    this.moduleId = moduleId;
    this.type = type;
    this.channel = channel;
  }

  /** Oldest first. Not reactive by itself: read `version` too. */
  get points(): readonly Point[] {
    return this.#points;
  }

  /** Adds a new reading. */
  push(reading: Reading): void {
    this.#put({ t: reading.timestamp, v: reading.value, span: 0 });
    this.#renew(reading);
    this.#trim();
    this.version += 1;
  }

  /**
   * Adds the newest readings of the series, oldest first, after a (re)connect. `complete`: the hub has no
   * older ones, so nothing can be missing.
   */
  pushRecent(readings: readonly Reading[], whole: boolean): void {
    const known = this.newest?.timestamp;
    const oldest = readings[0]?.timestamp;
    if (whole) this.backfillSince = null;
    else if (this.backfillSince === null && known !== undefined && oldest !== undefined && oldest > known)
      this.backfillSince = known;
    for (const reading of readings) this.#put({ t: reading.timestamp, v: reading.value, span: 0 });
    const last = readings.at(-1);
    if (last) this.#renew(last);
    this.#trim();
    this.version += 1;
  }

  /** Adds the missing history. */
  fill(readings: readonly Reading[], minutes: readonly Bucket[]): void {
    for (const minute of minutes) this.#put({ t: minute.start + 30, v: minute.avg ?? null, span: 60 });
    for (const reading of readings) this.#put({ t: reading.timestamp, v: reading.value, span: 0 });
    this.backfillSince = null;
    this.#trim();
    this.version += 1;
  }

  #renew(reading: Reading): void {
    if (!this.newest || reading.timestamp >= this.newest.timestamp) this.newest = reading;
  }

  /** Almost always appends; a late reading is inserted, and a point with the same time is replaced. */
  #put(point: Point): void {
    let at = this.#points.length;
    while (at > 0 && (this.#points[at - 1] as Point).t > point.t) at -= 1;
    const same = this.#points[at - 1]?.t === point.t;
    this.#points.splice(same ? at - 1 : at, same ? 1 : 0, point);
  }

  /** Keeps one point older than the window, so that the line starts at the edge of the chart. */
  #trim(): void {
    const newest = this.#points.at(-1);
    if (!newest) return;
    const from = this.#points.findIndex((point) => point.t >= newest.t - WINDOW_SECS);
    if (from > 1) this.#points.splice(0, from - 1);
  }
}
