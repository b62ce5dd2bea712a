import type { Gap } from '../api/types';
import type { Point } from '../live/series.svelte';

/** How many times the expected distance may pass before silence is a gap. */
const PATIENCE = 2.5;

/** Times (Unix seconds) and values as uPlot wants them; `null` interrupts the line. */
export type Line = [times: number[], values: (number | null)[]];

/** The usual distance between the series' single readings, in seconds, when its manifest does not say; `null` when there are too few. */
export function typicalInterval(points: readonly Point[]): number | null {
  const distances: number[] = [];
  for (let at = 1; at < points.length; at += 1) {
    const [before, after] = [points[at - 1] as Point, points[at] as Point];
    if (before.span === 0 && after.span === 0) distances.push(after.t - before.t);
  }
  if (distances.length < 2) return null;
  distances.sort((a, b) => a - b);
  return distances[Math.floor(distances.length / 2)] ?? null;
}

/**
 * The line to draw from `from` on, with a `null` wherever nothing could be measured, nobody said anything for 2.5 times
 * `everySecs`, or readings between two others were `lost` (by when they begin).
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
  for (const point of points) {
    if (point.t < from) {
      before = point;
      continue;
    }
    if (before && times.length === 0) {
      times.push(before.t);
      values.push(before.v);
    }
    // What was lost inside a bucket does not part it from the next.
    while (before && point.span === 0 && (lost[next]?.since ?? Infinity) < before.t) next += 1;
    if (before && (isGap(before, point, every) || isBetween(before, lost[next], point))) {
      times.push((before.t + point.t) / 2);
      values.push(null);
    }
    times.push(point.t);
    values.push(point.v);
    before = point;
  }
  return [times, values];
}

/** The least and the greatest value at each of the line's times; `null` where the line has none either. */
export function buildBand(
  [times]: Line,
  points: readonly Point[]
): [lows: (number | null)[], highs: (number | null)[]] {
  const byTime = new Map(points.map((point) => [point.t, point]));
  return [times.map((t) => byTime.get(t)?.low ?? null), times.map((t) => byTime.get(t)?.high ?? null)];
}

/**
 * The part of a gap between two moments (Unix seconds), widened about its middle to at least `minSecs`; `null` when
 * none of it lies there.
 */
export function gapInterval(
  { since, until }: Pick<Gap, 'since' | 'until'>,
  from: number,
  to: number,
  minSecs: number
): [since: number, until: number] | null {
  const lacks = Math.max(0, minSecs - (until - since)) / 2;
  const begin = Math.max(from, since - lacks);
  const end = Math.min(to, until + lacks);
  return begin < end ? [begin, end] : null;
}

/** Where values stand between two gaps: a line has no length there, so they need a dot to be seen. */
export function lonePoints(values: readonly (number | null | undefined)[]): number[] {
  const lone: number[] = [];
  values.forEach((value, at) => {
    if (value != null && values[at - 1] == null && values[at + 1] == null) lone.push(at);
  });
  return lone;
}

function isGap(before: Point, after: Point, every: number | null): boolean {
  // Averages lie a whole bucket apart even when nothing is missing.
  const span = 1.5 * Math.max(before.span, after.span);
  const patience = Math.max(PATIENCE * (every ?? Infinity), span);
  return after.t - before.t > (every === null && span > 0 ? span : patience);
}

function isBetween(before: Point, lost: Pick<Gap, 'since' | 'until'> | undefined, after: Point): boolean {
  return lost !== undefined && before.span + after.span === 0 && before.t <= lost.since && lost.until <= after.t;
}
