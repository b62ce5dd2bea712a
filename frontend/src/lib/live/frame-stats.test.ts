import { describe, expect, test } from 'vitest';
import { FrameStats, percentile } from './frame-stats';

const NOW = 1_795_472_000;

const painted = (latencies: readonly (number | null)[], everySecs = 0.1): FrameStats => {
  const all = new FrameStats();
  latencies.forEach((latency, at) => all.add(NOW + at * everySecs, latency));
  return all;
};

describe('a percentile', () => {
  test('of one value is that value', () => {
    expect(percentile([7], 0.5)).toBe(7);
    expect(percentile([7], 0.99)).toBe(7);
  });

  test('is a measured value, never an interpolated one', () => {
    const hundred = Array.from({ length: 100 }, (_, at) => at + 1);

    expect(percentile(hundred, 0.5)).toBe(50);
    expect(percentile(hundred, 0.99)).toBe(99);
    expect(percentile([1, 2, 3], 0.99)).toBe(3);
  });
});

describe('the delay', () => {
  test('is unknown before the first frame, and without a clock offset', () => {
    expect(painted([]).latency(NOW)).toBeNull();
    expect(painted([null, null]).latency(NOW)).toBeNull();
  });

  test('has a median and a 99th percentile', () => {
    const latencies = Array.from({ length: 100 }, (_, at) => (at === 42 ? 0.4 : at === 43 ? 0.3 : 0.08));

    expect(painted(latencies, 0.05).latency(NOW + 5)).toEqual({ p50: 0.08, p99: 0.3 });
  });

  test('forgets a freeze after ten seconds, however few frames there were since then', () => {
    const all = new FrameStats();
    all.add(NOW, 12.4);
    for (let at = 1; at <= 9; at += 1) all.add(NOW + at, 0.05);

    expect(all.latency(NOW + 9.5)?.p99).toBe(12.4);
    expect(all.latency(NOW + 10)).toEqual({ p50: 0.05, p99: 0.05 });
  });

  test('keeps the last known delay of a camera that is slower than that', () => {
    const all = painted([0.3, 0.2], 60);

    expect(all.latency(NOW + 90)).toEqual({ p50: 0.2, p99: 0.2 });
  });

  test('is bounded for a fast camera', () => {
    const all = painted(
      Array.from({ length: 5_000 }, (_, at) => (at < 4_000 ? 2 : 0.05)),
      0.001
    );

    expect(all.latency(NOW + 5)).toEqual({ p50: 0.05, p99: 0.05 });
  });
});

describe('the rate', () => {
  test('is the number of painted frames per second', () => {
    const all = painted(Array.from({ length: 31 }, () => 0.1));

    expect(all.fps(NOW + 3)).toBeCloseTo(10);
  });

  test('covers the last three seconds', () => {
    const all = new FrameStats();
    for (let at = 0; at < 50; at += 1) all.add(NOW + at * 0.1, null);
    for (let at = 0; at < 9; at += 1) all.add(NOW + 5 + at * 0.5, null);

    expect(all.fps(NOW + 9)).toBeCloseTo(2);
  });

  test('falls without new frames, down to zero', () => {
    const all = painted(Array.from({ length: 31 }, () => 0.1));

    expect(all.fps(NOW + 4)).toBeLessThan(8);
    expect(all.fps(NOW + 5)).toBeLessThan(5);
    expect(all.fps(NOW + 7)).toBe(0);
  });
});

describe('the typical interval', () => {
  test('is unknown before there are three frames', () => {
    expect(painted([null, null]).intervalSecs).toBeNull();
  });

  test('is not changed by one pause', () => {
    const all = painted(Array.from({ length: 10 }, () => null));
    for (let at = 0; at < 3; at += 1) all.add(NOW + 60 + at * 0.1, null);

    expect(all.intervalSecs).toBeCloseTo(0.1);
  });
});
