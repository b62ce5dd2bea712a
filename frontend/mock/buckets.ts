import type { Bucket } from '../src/lib/api/types';

const SECS: Readonly<Record<string, number>> = {
  '1m': 60,
  '5m': 300,
  '15m': 900,
  '1h': 3600,
  '6h': 21_600,
  '1d': 86_400
};
const DAY = 86_400;

/**
 * Generated buckets for times before the recorded hour: that hour, with daily and yearly cycles added. Oldest
 * first.
 */
export function generatedBuckets(minutes: readonly Bucket[], width: string, since: number, until: number): Bucket[] {
  const template = minutes.findLast(({ avg }) => avg != null);
  const secs = SECS[width];
  if (!template || template.avg == null || !secs) return [];
  const range = Math.max(Math.abs(template.avg) / 20, (template.max ?? template.avg) - (template.min ?? template.avg));
  const buckets: Bucket[] = [];
  // The hub's answer includes the bucket that contains `since`.
  for (let start = Math.floor(since / secs) * secs; start < until; start += secs) {
    const day = Math.sin((2 * Math.PI * start) / DAY);
    const year = Math.sin((2 * Math.PI * start) / (365 * DAY));
    const avg = template.avg + range * (day + year);
    const spread = range * Math.min(1.2, 0.3 + secs / DAY);
    buckets.push({ ...template, start, avg, min: avg - spread, max: avg + spread, count: secs, missing: 0 });
  }
  return buckets;
}
