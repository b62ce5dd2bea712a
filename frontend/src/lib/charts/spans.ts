import type { Width } from '../api/hub';

const HOUR = 3600;
const DAY = 24 * HOUR;

/** How far back a chart looks. */
export interface Span {
  key: 'hour' | 'day' | 'week' | 'month' | 'year';
  /** On its button. */
  short: string;
  secs: number;
  /** What one point sums up; `null`: readings as they are. */
  bucket: { width: Width; secs: number } | null;
}

/** The most points the hub sends and a chart is drawn from. */
export const MAX_POINTS = 2000;

/**
 * The last hour is live; further back the hub sums up, so that no span has more than `MAX_POINTS` points. A year comes by
 * the day: days and nights drawn as a line would fill the chart, as extremes they are the band about it.
 */
export const SPANS = [
  { key: 'hour', short: '1\u202fh', secs: HOUR, bucket: null },
  { key: 'day', short: '1\u202fd', secs: DAY, bucket: { width: '1m', secs: 60 } },
  { key: 'week', short: '1\u202fw', secs: 7 * DAY, bucket: { width: '15m', secs: 900 } },
  { key: 'month', short: '1\u202fmo', secs: 31 * DAY, bucket: { width: '1h', secs: HOUR } },
  { key: 'year', short: '1\u202fy', secs: 365 * DAY, bucket: { width: '1d', secs: DAY } }
] as const satisfies readonly Span[];
