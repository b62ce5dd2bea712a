import type { Gap } from '../api/types';
import type { Point } from '../live/series.svelte';

/** Two readings further apart than this many intervals have a gap between them. */
const PATIENCE = 2.5;

/** Times (Unix seconds) and values in the format of uPlot; `null` interrupts the line. */
export type Line = [times: number[], values: (number | null)[]];

/**
 * The typical interval between single readings, in seconds, for a series whose manifest has none; `null` when
 * there are too few.
 */
export function typicalInterval(points: readonly Point[]): number | null {
  const distances: number[] = [];
  for (let at = 1; at < points.length; at += 1) {
    const [before, after] = [points[at - 1] as Point, points[at] as Point];
    if (before.span === 0 && after.span === 0) distances.push(after.t - before.t);
  }
  if (distances.length < 2) return null;
  distances.sort((a, b) => a - b);
  return distances[Math.floor((distances.length - 1) / 2)] ?? null;
}

/**
 * The line to draw from `from` on. A `null` interrupts it where a measurement failed, where two readings are
 * more than 2.5 times `everySecs` apart, and where readings between two others were `lost` (ordered by start
 * time); averages where they are more than 1.5 buckets apart. Points around it that are as far apart show
 * that the interval was longer then: a module that measures once an hour fills one of four buckets of 15 minutes.
 */
export function buildLine(
  points: readonly Point[],
  everySecs: number | null,
  from = -Infinity,
  lost: readonly Pick<Gap, 'since' | 'until'>[] = []
): Line {
  const every = everySecs ?? typicalInterval(points);
  const times: number[] = [];
  const values: (number | null)[] = [];
  let before: Point | null = null;
  let next = 0;
  for (const [place, point] of points.entries()) {
    if (point.t < from) {
      before = point;
      continue;
    }
    if (before && times.length === 0) {
      times.push(before.t);
      values.push(before.v);
    }
    // A gap inside one bucket does not interrupt the line.
    while (before && point.span === 0 && (lost[next]?.since ?? Infinity) < before.t) next += 1;
    if (before && (isGap(points, place, every) || isBetween(before, lost[next], point))) {
      times.push((before.t + point.t) / 2);
      values.push(null);
    }
    times.push(point.t);
    values.push(point.v);
    before = point;
  }
  return [times, values];
}

/** The minimum and the maximum at each time of the line; `null` where the line has `null`. */
export function buildBand(
  [times]: Line,
  points: readonly Point[]
): [lows: (number | null)[], highs: (number | null)[]] {
  const byTime = new Map(points.map((point) => [point.t, point]));
  return [times.map((t) => byTime.get(t)?.low ?? null), times.map((t) => byTime.get(t)?.high ?? null)];
}

/**
 * The part of a gap between two times (Unix seconds), widened about its middle to at least `minSecs`; `null`
 * without overlap.
 */
export function gapInterval(
  { since, until }: Pick<Gap, 'since' | 'until'>,
  from: number,
  to: number,
  minSecs: number
): [since: number, until: number] | null {
  const padding = Math.max(0, minSecs - (until - since)) / 2;
  const begin = Math.max(from, since - padding);
  const end = Math.min(to, until + padding);
  return begin < end ? [begin, end] : null;
}

/** The indexes of values between two gaps: a line has no length there, so they are drawn as dots. */
export function lonePoints(values: readonly (number | null | undefined)[]): number[] {
  const lone: number[] = [];
  values.forEach((value, at) => {
    if (value != null && values[at - 1] == null && values[at + 1] == null) lone.push(at);
  });
  return lone;
}

/** The lower median of up to six distances: the three before that of `place` to its predecessor, and the three after. */
function distanceAround(points: readonly Point[], place: number): number {
  const distances: number[] = [];
  for (let at = Math.max(1, place - 3); at <= Math.min(points.length - 1, place + 3); at += 1) {
    if (at !== place) distances.push((points[at] as Point).t - (points[at - 1] as Point).t);
  }
  distances.sort((a, b) => a - b);
  return distances[Math.floor((distances.length - 1) / 2)] ?? 0;
}

function isGap(points: readonly Point[], place: number, every: number | null): boolean {
  const [before, after] = [points[place - 1] as Point, points[place] as Point];
  // Averages are a whole bucket apart even without a gap.
  const span = 1.5 * Math.max(before.span, after.span);
  if (every === null && span === 0) return false;
  const apart = after.t - before.t;
  if (apart <= Math.max(PATIENCE * (every ?? 0), span)) return false;
  return apart > (span > 0 ? 1.5 : PATIENCE) * distanceAround(points, place);
}

function isBetween(before: Point, lost: Pick<Gap, 'since' | 'until'> | undefined, after: Point): boolean {
  return lost !== undefined && before.span + after.span === 0 && before.t <= lost.since && lost.until <= after.t;
}
