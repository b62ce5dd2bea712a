import type { Width } from '../api/hub';

const HOUR = 3600;
const DAY = 24 * HOUR;

/** The time span of a chart. */
export interface Span {
  key: 'hour' | 'day' | 'week' | 'month' | 'year';
  /** The label of its button. */
  short: string;
  secs: number;
  /** The bucket of one point; `null`: single readings. */
  bucket: { width: Width; secs: number } | null;
}

/** The hub sends, and a chart draws, at most this many points. */
export const MAX_POINTS = 2000;

/**
 * The last hour is live; for longer spans the hub sends aggregates, so that no span has more than
 * `MAX_POINTS` points. A year is drawn by the day: a line with days and nights would fill the chart, and as
 * extremes they are the band around it.
 */
export const SPANS = [
  { key: 'hour', short: '1\u202fh', secs: HOUR, bucket: null },
  { key: 'day', short: '1\u202fd', secs: DAY, bucket: { width: '1m', secs: 60 } },
  { key: 'week', short: '1\u202fw', secs: 7 * DAY, bucket: { width: '15m', secs: 900 } },
  { key: 'month', short: '1\u202fmo', secs: 31 * DAY, bucket: { width: '1h', secs: HOUR } },
  { key: 'year', short: '1\u202fy', secs: 365 * DAY, bucket: { width: '1d', secs: DAY } }
] as const satisfies readonly Span[];
