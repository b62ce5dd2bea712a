import { describe, expect, test } from 'vitest';
import {
  advance,
  amountInRange,
  timelineBands,
  localDayOf,
  seekTargetForKey,
  fractionAt,
  snapToClip,
  ticks,
  timeAt,
  zoomRange
} from './timeline';
import { aClip } from './testing';

const DAY = { since: 0, until: 1000 };

describe('a day', () => {
  test('spans from midnight to midnight in local time', () => {
    const noon = new Date(2026, 10, 24, 12).getTime() / 1000;

    const day = localDayOf(noon);

    expect(new Date(day.since * 1000).getHours()).toBe(0);
    expect(day.until).toBe(new Date(2026, 10, 25).getTime() / 1000);
    expect(localDayOf(noon, -1).until).toBe(day.since);
    expect(localDayOf(noon, 1).since).toBe(day.until);
  });

  test('is zoomed without moving past its ends', () => {
    expect(zoomRange(DAY, 100, 500)).toEqual({ since: 450, until: 550 });
    expect(zoomRange(DAY, 100, 10)).toEqual({ since: 0, until: 100 });
    expect(zoomRange(DAY, 100, 990)).toEqual({ since: 900, until: 1000 });
    expect(zoomRange(DAY, 5000, 500)).toEqual(DAY);
  });

  test('maps times to positions and back', () => {
    for (const time of [0, 1, 333, 1000]) expect(timeAt(fractionAt(time, DAY), DAY)).toBeCloseTo(time);
    expect(timeAt(-0.2, DAY)).toBe(0);
    expect(timeAt(1.2, DAY)).toBe(1000);
  });

  test('has labels at whole steps of the local clock, as close as they fit', () => {
    const day = localDayOf(1_795_472_000);

    const wholeDay = ticks(day, 1200);
    const hour = ticks(zoomRange(day, 3600, day.since + 40_000), 400);

    expect(wholeDay.step).toBe(7200);
    expect(wholeDay.times[0]).toBe(day.since);
    expect(hour.step).toBe(600);
    // Labels with seconds are longer.
    expect(ticks(zoomRange(day, 600, day.since + 40_000), 1200).step).toBe(60);
    for (const time of hour.times) expect(new Date(time * 1000).getMinutes() % 10).toBe(0);
  });
});

describe('a clip', () => {
  test('is drawn at its time, cut at the ends', () => {
    const clips = [aClip(-100, 100), aClip(500, 750), aClip(900, 2000)];

    expect(timelineBands(clips, DAY, 1000)).toEqual([
      { from: 0, to: 0.1 },
      { from: 0.5, to: 0.75 },
      { from: 0.9, to: 1 }
    ]);
  });

  test('is visible however short it is', () => {
    const [band] = timelineBands([aClip(500, 500)], DAY, 100);

    expect(band?.from).toBe(0.5);
    expect(band?.to).toBeCloseTo(0.52);
  });

  test('is merged with one less than a pixel away', () => {
    const many = Array.from({ length: 900 }, (_, at) => aClip(at, at + 0.5));

    expect(timelineBands(many, DAY, 300)).toHaveLength(1);
    expect(timelineBands([aClip(0, 10), aClip(400, 410)], DAY, 300)).toHaveLength(2);
  });

  test('is not drawn outside the view', () => {
    expect(timelineBands([aClip(-50, -10), aClip(1100, 1200)], DAY, 100)).toEqual([]);
  });

  test('is found from any time', () => {
    const clips = [aClip(100, 200), aClip(500, 600)];

    expect([0, 150, 340, 360, 999].map((time) => snapToClip(time, clips))).toEqual([100, 150, 200, 500, 600]);
    expect(snapToClip(5, [])).toBeNull();
  });

  test('is played without the gap before it', () => {
    const clips = [aClip(100, 200), aClip(500, 600)];

    expect(advance(100, 30, clips)).toBe(130);
    expect(advance(190, 30, clips)).toBe(520);
    expect(advance(0, 1, clips)).toBe(101);
    expect(advance(590, 30, clips)).toBeNull();
    expect(advance(700, 1, clips)).toBeNull();
  });

  test('is navigated with keys, in steps relative to the view', () => {
    const clips = [aClip(100, 200), aClip(500, 600)];
    const goals = (keys: string[], view = DAY) => keys.map((key) => seekTargetForKey(key, 500, view, clips));

    expect(goals(['ArrowLeft', 'ArrowRight', 'PageDown', 'PageUp'])).toEqual([490, 510, 400, 600]);
    expect(goals(['ArrowLeft', 'ArrowRight'], { since: 450, until: 550 })).toEqual([499, 501]);
    expect(goals(['Home', 'End', 'Tab'])).toEqual([100, 600, null]);
    expect(seekTargetForKey('Home', 500, DAY, [])).toBeNull();
  });

  test('counts in proportion when a range cuts it', () => {
    const clips = [aClip(100, 200, 1000), aClip(500, 600, 400)];

    expect(amountInRange({ since: 150, until: 1000 }, clips)).toEqual({ frames: 900, bytes: 900_000 });
    expect(amountInRange({ since: 300, until: 400 }, clips)).toEqual({ frames: 0, bytes: 0 });
  });
});
