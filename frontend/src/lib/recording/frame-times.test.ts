import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { Range, Clip } from '../api/recording';
import { FrameTimes, indexAtOrBefore } from './frame-times';
import { aClip } from './testing';

test('finds the newest of many times that is not after a given time', () => {
  const times = [1, 2, 2.5, 7];

  expect([0, 1, 2.4, 2.5, 6.9, 100].map((time) => indexAtOrBefore(times, time))).toEqual([-1, 0, 1, 2, 2, 3]);
  expect(indexAtOrBefore([], 1)).toBe(-1);
});

describe('stepping through frames', () => {
  /** The frames of the hub. */
  let recorded: number[];
  let clips: Clip[];
  const fetchTimes = vi.fn<(range: Range) => Promise<number[]>>();
  let times: FrameTimes;

  beforeEach(() => {
    fetchTimes.mockReset();
    fetchTimes.mockImplementation(({ since, until }) =>
      Promise.resolve(recorded.filter((time) => time >= since && time < until).slice(0, 10_000))
    );
    times = new FrameTimes(fetchTimes);
  });

  function record(...parts: [begin: number, count: number, every: number][]): void {
    const made = parts.map(([begin, count, every]) => Array.from({ length: count }, (_, at) => begin + at * every));
    recorded = made.flat();
    clips = made.map((part) => aClip(part[0] ?? 0, part.at(-1) ?? 0, part.length));
  }

  async function walk(from: number, direction: 1 | -1): Promise<number[]> {
    const visited: number[] = [];
    for (let at: number | null = from; at !== null; at = await times.adjacentFrame(at, direction, clips))
      visited.push(at);
    return visited;
  }

  test('visits every frame, forward and back, across clips', async () => {
    record([100, 50, 0.1], [500, 1, 1], [900, 20, 0.5]);

    expect(await walk(100, 1)).toEqual(recorded);
    expect(await walk(recorded.at(-1) ?? 0, -1)).toEqual(recorded.toReversed());
  });

  test('visits every frame beyond the limit of one response', async () => {
    record([0, 20_000, 0.125]);

    expect(await walk(0, 1)).toEqual(recorded);
    expect(await walk(recorded.at(-1) ?? 0, -1)).toEqual(recorded.toReversed());
  });

  test('visits every frame where they are much denser than elsewhere', async () => {
    record([0, 1_000, 60], [60_001, 24_000, 0.01]);
    clips = [aClip(0, recorded.at(-1) ?? 0, recorded.length)];

    expect(await walk(58_980, 1)).toEqual(recorded.filter((time) => time >= 58_980));
    expect(await walk(recorded.at(-1) ?? 0, -1)).toEqual(recorded.toReversed());
  });

  test('needs few requests', async () => {
    record([0, 9_000, 0.125]);

    await walk(0, 1);

    expect(fetchTimes.mock.calls.length).toBeLessThan(6);
  });

  test('finds the next of a time lapse, however long it takes', async () => {
    record([0, 24, 3600]);

    expect(await walk(0, 1)).toEqual(recorded);
    expect(fetchTimes).toHaveBeenCalledOnce();
  });

  test('starts anywhere, also between two frames', async () => {
    record([100, 10, 1], [500, 10, 1]);

    expect(await times.adjacentFrame(103.4, 1, clips)).toBe(104);
    expect(await times.adjacentFrame(103.4, -1, clips)).toBe(103);
    expect(await times.adjacentFrame(300, 1, clips)).toBe(500);
    expect(await times.adjacentFrame(300, -1, clips)).toBe(109);
  });

  test('stops at both ends', async () => {
    record([100, 10, 1]);

    expect(await times.adjacentFrame(109, 1, clips)).toBeNull();
    expect(await times.adjacentFrame(100, -1, clips)).toBeNull();
    expect(await times.adjacentFrame(5, 1, [])).toBeNull();
  });

  test('continues past a clip whose frames were deleted', async () => {
    record([100, 10, 1], [500, 10, 1]);
    recorded = recorded.filter((time) => time > 400);

    expect(await times.adjacentFrame(50, 1, clips)).toBe(500);
  });
});
