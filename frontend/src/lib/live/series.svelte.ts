import type { Bucket, Reading } from '../api/types';

/** How much of a series the page keeps, in seconds. */
export const WINDOW_SECS = 3600;

/** One value on a chart. */
export interface Point {
  /** Unix seconds. */
  t: number;
  /** `null`: nothing could be measured here. */
  v: number | null;
  /** How many seconds the value stands for: 0 for a reading, 60 for a minute's average. */
  span: number;
  /** The least and the greatest value of that time, when it is an average. */
  low?: number | null;
  high?: number | null;
}

/** The last hour of one series: a ring of points in the order of their time, and the newest reading. */
export class Series {
  readonly moduleId: string;
  readonly type: string;

  /** The newest reading, or `null` while only averages are known. */
  newest = $state.raw<Reading | null>(null);

  /** Rises whenever `points` changed; reading it is how a chart follows. */
  version = $state(0);

  /**
   * Since when history must be asked for (Unix seconds): `-Infinity` at first, then where the live readings
   * broke off if they broke off, `null` while nothing is missing.
   */
  backfillSince = $state<number | null>(-Infinity);

  #points: Point[] = [];

  constructor(moduleId: string, type: string) {
    this.moduleId = moduleId;
    this.type = type;
  }

  /** Oldest first. Not reactive by itself: read `version` too. */
  get points(): readonly Point[] {
    return this.#points;
  }

  /** Takes a reading that has just come in. */
  push(reading: Reading): void {
    this.#put({ t: reading.timestamp, v: reading.value, span: 0 });
    this.#renew(reading);
    this.#trim();
    this.version += 1;
  }

  /**
   * Takes the newest readings of the series, oldest first, after a (re)connect.
   * `whole` says that the hub has no older ones, so nothing can be missing.
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

  /** Takes history and with it closes the backfillSince. */
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

  /** Almost always appends; a late reading finds its place, one that is already there is replaced. */
  #put(point: Point): void {
    let at = this.#points.length;
    while (at > 0 && (this.#points[at - 1] as Point).t > point.t) at -= 1;
    const same = this.#points[at - 1]?.t === point.t;
    this.#points.splice(same ? at - 1 : at, same ? 1 : 0, point);
  }

  /** Keeps one point older than the window, so that the line enters the chart from its edge. */
  #trim(): void {
    const newest = this.#points.at(-1);
    if (!newest) return;
    const from = this.#points.findIndex((point) => point.t >= newest.t - WINDOW_SECS);
    if (from > 1) this.#points.splice(0, from - 1);
  }
}
