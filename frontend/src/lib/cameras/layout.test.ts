import { describe, expect, test } from 'vitest';
import { layoutOf } from './layout';

const SCREEN = { width: 1240, height: 640, gap: 10 };
const PHONE = { width: 372, height: 640, gap: 10 };
const WIDE = 16 / 9;

const columns = (counts: number[], viewport = SCREEN, aspect = WIDE) =>
  counts.map((count) => layoutOf(count, viewport, aspect).columns);

describe('the wall', () => {
  test('makes the tiles as big as possible with all of them on the screen', () => {
    expect(columns([1, 2, 3, 4, 6, 9, 16])).toEqual([1, 2, 2, 2, 3, 3, 4]);
  });

  test('stacks fewer rows of upright frames', () => {
    expect(columns([2, 4, 9], SCREEN, 3 / 4)).toEqual([2, 4, 5]);
  });

  test('never exceeds the viewport', () => {
    for (let count = 1; count <= 16; count += 1) {
      const layout = layoutOf(count, SCREEN, WIDE);
      const rows = Math.ceil(count / layout.columns);

      expect(rows * layout.height + (rows - 1) * SCREEN.gap).toBeLessThanOrEqual(SCREEN.height + 1);
    }
  });

  test('scrolls instead of showing tiles too small to see', () => {
    const { columns: side, height } = layoutOf(60, SCREEN, WIDE);

    expect(side).toBe(5);
    expect(height * 12).toBeGreaterThan(SCREEN.height);
  });

  test('is one column on a phone, and two when there are many', () => {
    expect(columns([1, 2, 4, 9], PHONE)).toEqual([1, 1, 1, 2]);
    expect(layoutOf(1, PHONE, WIDE).height).toBeCloseTo(372 / WIDE);
  });
});
