import { describe, expect, test } from 'vitest';
import { Series, WINDOW_SECS } from './series.svelte';
import { aReading } from './testing';

const NOW = 1_795_472_000;
const TEMPERATURE = { moduleId: 'attic', type: 'temperature', channel: null };
const times = (series: Series) => series.points.map((point) => point.t - NOW);

describe('a series', () => {
  test('keeps its points in order of time, whenever they arrive', () => {
    const series = new Series(TEMPERATURE);

    for (const late of [10, 30, 20, 0]) series.push(aReading(NOW + late));

    expect(times(series)).toEqual([0, 10, 20, 30]);
    expect(series.newest?.timestamp).toBe(NOW + 30);
  });

  test('stores a repeated reading once', () => {
    const series = new Series(TEMPERATURE);
    series.push(aReading(NOW, 20));

    series.fill([aReading(NOW, 21)], []);
    series.pushRecent([aReading(NOW, 22)], false);

    expect(series.points).toEqual([{ t: NOW, v: 22, span: 0 }]);
  });

  test('drops points older than the window, except the one before it', () => {
    const series = new Series(TEMPERATURE);

    for (const at of [0, 60, 120, WINDOW_SECS + 90]) series.push(aReading(NOW + at));

    expect(times(series)).toEqual([60, 120, WINDOW_SECS + 90]);
  });

  test('needs history at first, and not when the hub has no older readings', () => {
    const unknown = new Series(TEMPERATURE);
    unknown.pushRecent([aReading(NOW)], false);
    const complete = new Series(TEMPERATURE);
    complete.pushRecent([aReading(NOW)], true);

    expect(unknown.backfillSince).toBe(-Infinity);
    expect(complete.backfillSince).toBeNull();
  });

  test('needs no history when the newest readings overlap with its own', () => {
    const series = new Series(TEMPERATURE);
    series.fill([aReading(NOW), aReading(NOW + 1)], []);
    series.push(aReading(NOW + 1));

    series.pushRecent([aReading(NOW + 1), aReading(NOW + 2)], false);

    expect(series.backfillSince).toBeNull();
  });

  test('places a minute’s average in the middle of its minute', () => {
    const series = new Series(TEMPERATURE);

    const minute = { module_id: 'attic', type: 'temperature', unit: 'celsius', start: NOW, avg: 21, missing: 0 };
    series.fill([], [minute]);

    expect(series.points).toEqual([{ t: NOW + 30, v: 21, span: 60 }]);
  });

  test('increases its version with every change', () => {
    const series = new Series(TEMPERATURE);
    const before = series.version;

    series.push(aReading(NOW));

    expect(series.version).toBeGreaterThan(before);
  });
});
