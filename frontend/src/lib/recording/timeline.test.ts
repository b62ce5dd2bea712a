import { describe, expect, test } from 'vitest';
import { advanced, amountIn, bands, dayAround, goalOf, shareOf, snapped, ticks, timeAt, zoomed } from './timeline';
import { aStretch } from './testing';

const DAY = { since: 0, until: 1000 };

describe('a day', () => {
  test('goes from midnight to midnight of the reader', () => {
    const noon = new Date(2026, 10, 24, 12).getTime() / 1000;

    const day = dayAround(noon);

    expect(new Date(day.since * 1000).getHours()).toBe(0);
    expect(day.until).toBe(new Date(2026, 10, 25).getTime() / 1000);
    expect(dayAround(noon, -1).until).toBe(day.since);
    expect(dayAround(noon, 1).since).toBe(day.until);
  });

  test('is looked at more closely without looking past its ends', () => {
    expect(zoomed(DAY, 100, 500)).toEqual({ since: 450, until: 550 });
    expect(zoomed(DAY, 100, 10)).toEqual({ since: 0, until: 100 });
    expect(zoomed(DAY, 100, 990)).toEqual({ since: 900, until: 1000 });
    expect(zoomed(DAY, 5000, 500)).toEqual(DAY);
  });

  test('has a place for each moment, and a moment for each place', () => {
    for (const time of [0, 1, 333, 1000]) expect(timeAt(shareOf(time, DAY), DAY)).toBeCloseTo(time);
    expect(timeAt(-0.2, DAY)).toBe(0);
    expect(timeAt(1.2, DAY)).toBe(1000);
  });

  test('has marks at whole steps of the reader’s clock, as close as their labels allow', () => {
    const day = dayAround(1_795_472_000);

    const whole = ticks(day, 1200);
    const hour = ticks(zoomed(day, 3600, day.since + 40_000), 400);

    expect(whole.step).toBe(7200);
    expect(whole.times[0]).toBe(day.since);
    expect(hour.step).toBe(600);
    // Labels with seconds are longer.
    expect(ticks(zoomed(day, 600, day.since + 40_000), 1200).step).toBe(60);
    for (const time of hour.times) expect(new Date(time * 1000).getMinutes() % 10).toBe(0);
  });
});

describe('what was recorded', () => {
  test('is drawn where it was, cut at the ends', () => {
    const stretches = [aStretch(-100, 100), aStretch(500, 750), aStretch(900, 2000)];

    expect(bands(stretches, DAY, 1000)).toEqual([
      { from: 0, to: 0.1 },
      { from: 0.5, to: 0.75 },
      { from: 0.9, to: 1 }
    ]);
  });

  test('is seen however short it was', () => {
    const [band] = bands([aStretch(500, 500)], DAY, 100);

    expect(band?.from).toBe(0.5);
    expect(band?.to).toBeCloseTo(0.52);
  });

  test('is one band where no pixel lies between', () => {
    const many = Array.from({ length: 900 }, (_, at) => aStretch(at, at + 0.5));

    expect(bands(many, DAY, 300)).toHaveLength(1);
    expect(bands([aStretch(0, 10), aStretch(400, 410)], DAY, 300)).toHaveLength(2);
  });

  test('is not drawn when it was at another time', () => {
    expect(bands([aStretch(-50, -10), aStretch(1100, 1200)], DAY, 100)).toEqual([]);
  });

  test('is found from any moment', () => {
    const stretches = [aStretch(100, 200), aStretch(500, 600)];

    expect([0, 150, 340, 360, 999].map((time) => snapped(time, stretches))).toEqual([100, 150, 200, 500, 600]);
    expect(snapped(5, [])).toBeNull();
  });

  test('is played without the time between', () => {
    const stretches = [aStretch(100, 200), aStretch(500, 600)];

    expect(advanced(100, 30, stretches)).toBe(130);
    expect(advanced(190, 30, stretches)).toBe(520);
    expect(advanced(0, 1, stretches)).toBe(101);
    expect(advanced(590, 30, stretches)).toBeNull();
    expect(advanced(700, 1, stretches)).toBeNull();
  });

  test('is gone through with keys, faster the more is seen', () => {
    const stretches = [aStretch(100, 200), aStretch(500, 600)];
    const goals = (keys: string[], view = DAY) => keys.map((key) => goalOf(key, 500, view, stretches));

    expect(goals(['ArrowLeft', 'ArrowRight', 'PageDown', 'PageUp'])).toEqual([490, 510, 400, 600]);
    expect(goals(['ArrowLeft', 'ArrowRight'], { since: 450, until: 550 })).toEqual([499, 501]);
    expect(goals(['Home', 'End', 'Tab'])).toEqual([100, 600, null]);
    expect(goalOf('Home', 500, DAY, [])).toBeNull();
  });

  test('is counted in parts of what a range cuts', () => {
    const stretches = [aStretch(100, 200, 1000), aStretch(500, 600, 400)];

    expect(amountIn({ since: 150, until: 1000 }, stretches)).toEqual({ frames: 900, bytes: 900_000 });
    expect(amountIn({ since: 300, until: 400 }, stretches)).toEqual({ frames: 0, bytes: 0 });
  });
});
