import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ApiProblem } from '../api/problem';
import type { Range } from '../api/recording';
import { Player, type PlaybackBackend } from './player.svelte';
import { aClip } from './testing';

/** Ten frames per second from 1000 to 1020, and from 2000 to 2010. */
const RECORDED = [
  ...Array.from({ length: 201 }, (_, at) => 1000 + at / 10),
  ...Array.from({ length: 101 }, (_, at) => 2000 + at / 10)
];
const CLIPS = [aClip(1000, 1020, 201), aClip(2000, 2010, 101)];

describe('the player', () => {
  const shown: string[] = [];
  const fetch = vi.fn<PlaybackBackend['fetch']>();
  const times = vi.fn<PlaybackBackend['times']>();
  let player: Player;

  beforeEach(() => {
    vi.useFakeTimers({ now: 0 });
    shown.length = 0;
    fetch.mockReset();
    times.mockReset();
    fetch.mockImplementation((time) => {
      const nearest = RECORDED.reduce((best, one) => (Math.abs(one - time) < Math.abs(best - time) ? one : best));
      return Promise.resolve({ jpeg: new Blob([String(nearest)]), capturedAt: nearest });
    });
    times.mockImplementation(({ since, until }: Range) =>
      Promise.resolve(RECORDED.filter((time) => time >= since && time < until))
    );
    player = new Player({ fetch, times, show: async (jpeg) => void shown.push(await jpeg.text()) });
    player.clips = CLIPS;
  });

  afterEach(() => {
    player.leave();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  const settle = () => vi.advanceTimersByTimeAsync(0);

  test('shows the frame nearest to any time', async () => {
    player.seek(1003.44);
    await settle();

    expect(player.at).toBe(1003.44);
    expect(player.shownAt).toBeCloseTo(1003.4);
    expect(shown).toEqual(['1003.4']);
  });

  test('goes to the nearest clip from a time without recordings', async () => {
    player.seek(1400);
    await settle();
    expect(player.at).toBe(1020);

    player.clips = [];
    player.seek(1500);
    expect(player.at).toBe(1020);
  });

  test('skips frames that were passed while another one was loading', async () => {
    for (const time of [1001, 1002, 1003, 1004]) player.seek(time);
    await settle();

    expect(shown).toEqual(['1001', '1004']);
  });

  test('steps frame by frame, over a break and back', async () => {
    player.seek(1019.9);
    await settle();

    for (let steps = 0; steps < 3; steps += 1) {
      await player.step(1);
      await settle();
    }
    await player.step(-1);
    await settle();

    expect(shown).toEqual(['1019.9', '1020', '2000', '2000.1', '2000']);
  });

  test('stays at the last frame', async () => {
    player.seek(2010);
    await settle();

    await player.step(1);

    expect(player.at).toBe(2010);
  });

  test.each([0.5, 1, 4, 16])('plays %f times as fast', async (speed) => {
    player.seek(1000);
    player.speed = speed;
    await settle();

    player.play();
    await vi.advanceTimersByTimeAsync(1000);

    expect(player.at).toBeCloseTo(1000 + speed, 1);
    expect(player.shownAt).toBeGreaterThan(1000 + speed - 0.3);
    expect(player.shownAt).toBeLessThanOrEqual(1000 + speed);
  });

  test('plays every frame at the speed it was recorded, in order', async () => {
    player.seek(1000);
    await settle();
    player.play();
    await vi.advanceTimersByTimeAsync(3000);

    expect(shown.length).toBeGreaterThanOrEqual(29);
    expect(shown.map(Number)).toEqual(shown.map(Number).toSorted((a, b) => a - b));
  });

  test('plays on after a break, and stops at the end', async () => {
    player.seek(1019.5);
    await settle();
    player.play();
    await vi.advanceTimersByTimeAsync(1000);
    expect(player.at).toBeCloseTo(2000.5, 1);

    await vi.advanceTimersByTimeAsync(12_000);
    expect(player.playing).toBe(false);
    expect(player.shownAt).toBeCloseTo(2010, 0);
  });

  test('starts from the beginning when playing at the end', async () => {
    player.seek(2010);
    await settle();

    player.play();
    await vi.advanceTimersByTimeAsync(500);

    expect(player.at).toBeCloseTo(1000.5, 1);
  });

  test('reports a deleted frame, and continues', async () => {
    fetch.mockRejectedValueOnce(new ApiProblem({ kind: 'not_found', title: 'Not found', status: 404 }));
    player.seek(1001);
    await settle();
    expect(player.error).toBe('This frame has been deleted.');

    player.seek(1002);
    await settle();

    expect(player.error).toBeNull();
    expect(shown).toEqual(['1002']);
  });

  test('drops everything when it returns to the live view', async () => {
    player.seek(1001);
    player.play();
    player.leave();
    await settle();

    expect([player.at, player.shownAt, player.playing]).toEqual([null, null, false]);
    expect(shown).toEqual([]);
  });
});
