import { describe, expect, test } from 'vitest';
import type { Point } from '../live/series.svelte';
import { buildBand, buildLine, lonePoints, gapInterval, typicalInterval } from './gaps';

const at = (...times: number[]): Point[] => times.map((t) => ({ t, v: t, span: 0 }));
const minute = (...times: number[]): Point[] => times.map((t) => ({ t, v: t, span: 60 }));
const holes = (points: readonly Point[], every: number | null) =>
  buildLine(points, every)[1].filter((value) => value === null).length;

describe('a line', () => {
  test('has no gap while readings arrive at their interval', () => {
    expect(buildLine(at(0, 10, 20, 30), 10)).toEqual([
      [0, 10, 20, 30],
      [0, 10, 20, 30]
    ]);
  });

  test('tolerates a late reading, up to two and a half intervals', () => {
    expect(holes(at(0, 10, 35), 10)).toBe(0);
    expect(holes(at(0, 10, 36), 10)).toBe(1);
  });

  test('breaks in the middle of a long interval', () => {
    expect(buildLine(at(0, 10, 110, 120), 10)).toEqual([
      [0, 10, 60, 110, 120],
      [0, 10, null, 110, 120]
    ]);
  });

  test('breaks where readings were lost, however close the others are', () => {
    const lost = [
      { since: 2, until: 3 },
      { since: 12, until: 13 },
      { since: 14, until: 14 },
      { since: 31, until: 99 }
    ];

    expect(buildLine(at(0, 10, 20, 30), 10, -Infinity, lost)).toEqual([
      [0, 5, 10, 15, 20, 30],
      [0, null, 10, null, 20, 30]
    ]);
  });

  test('does not break between averages because of a gap inside a bucket', () => {
    expect(buildLine(minute(30, 90), 1, -Infinity, [{ since: 40, until: 50 }])[1]).toEqual([30, 90]);
  });

  test('does not break between the averages of a module that fills only some of the buckets', () => {
    const hourly = [0, 1, 2, 3, 5, 6].map((hour) => ({ t: hour * 3600, v: 1, span: 900 }));

    expect(holes(hourly, 30)).toBe(1);
    expect(holes(hourly, null)).toBe(1);
  });

  test('does not break where the interval was longer for a while', () => {
    const slow = [0, 60, 120, 180, 240, 300];
    const fast = Array.from({ length: 20 }, (_, place) => 305 + 5 * place);

    expect(holes(at(...slow, ...fast), 5)).toBeLessThanOrEqual(1);
    // A single reading between two breaks is no interval.
    expect(holes(at(0, 5, 10, 15, 100, 185, 190, 195, 200), 5)).toBe(2);
  });

  test('breaks where a measurement failed', () => {
    const points = at(0, 10, 20);
    points[1] = { t: 10, v: null, span: 0 };

    expect(buildLine(points, 10)[1]).toEqual([0, null, 20]);
  });

  test('derives the interval of a series without a manifest', () => {
    expect(typicalInterval(at(0, 60, 120, 180, 900))).toBe(60);
    expect(holes(at(0, 60, 120, 180, 900), null)).toBe(1);
  });

  test('does not guess from one or two readings', () => {
    expect(typicalInterval(at(0, 5))).toBeNull();
    expect(holes(at(0, 5), null)).toBe(0);
  });

  test('joins minute averages and breaks where a minute is missing', () => {
    expect(holes(minute(30, 90, 150), 1)).toBe(0);
    expect(holes(minute(30, 90, 210), 1)).toBe(1);
  });

  test('does not treat sparse minutes of a slow series as gaps', () => {
    expect(holes(minute(30, 330, 630), 300)).toBe(0);
  });

  test('joins averages to the readings that follow them', () => {
    expect(holes([...minute(30, 90), ...at(121, 122, 123)], 1)).toBe(0);
  });

  test('starts at the left edge', () => {
    expect(buildLine(at(0, 10, 20, 30), 10, 15)).toEqual([
      [10, 20, 30],
      [10, 20, 30]
    ]);
  });

  test('of nothing is empty', () => {
    expect(buildLine([], 10)).toEqual([[], []]);
  });
});

test('isolated values between gaps are found, also at the ends', () => {
  expect(lonePoints([1, null, 2, 3, null, 4])).toEqual([0, 5]);
  expect(lonePoints([null, 1, null])).toEqual([1]);
  expect(lonePoints([1, 2])).toEqual([]);
});

test('the band around a line of averages breaks where the line does', () => {
  const points: Point[] = [
    { t: 30, v: 5, span: 60, low: 4, high: 7 },
    { t: 90, v: 6, span: 60, low: 5, high: 8 },
    { t: 990, v: 6, span: 60, low: 6, high: 6 }
  ];

  const line = buildLine(points, null);

  expect(line[1]).toEqual([5, 6, null, 6]);
  expect(buildBand(line, points)).toEqual([
    [4, 5, null, 6],
    [7, 8, null, 6]
  ]);
});

describe('the interval of a gap on a chart', () => {
  test('ends at the edge of the chart', () => {
    expect(gapInterval({ since: 50, until: 150 }, 100, 200, 1)).toEqual([100, 150]);
  });

  test('of a single time is still wide enough to be visible', () => {
    expect(gapInterval({ since: 150, until: 150 }, 100, 200, 4)).toEqual([148, 152]);
  });

  test('outside the chart is null', () => {
    expect(gapInterval({ since: 10, until: 20 }, 100, 200, 4)).toBeNull();
  });
});
