import type uPlot from 'uplot';
import { describe, expect, test } from 'vitest';
import { scaleOf } from '../units/units';
import { timeLabel, timeLabels, valueAxisSize, valueLabels, valueRange } from './axis';

const at = (...parts: [number, number, number, number?, number?]): number => new Date(...parts).getTime() / 1000;

describe('the time axis', () => {
  test('of an hour shows the time, and the day only at midnight', () => {
    expect(timeLabel(at(2026, 10, 24, 13, 5), 300)).toMatch(/13.05/);
    expect(timeLabel(at(2026, 10, 25), 300)).toMatch(/25/);
    expect(timeLabel(at(2026, 10, 25), 300)).not.toMatch(/00/);
  });

  test('of a month shows the day', () => {
    expect(timeLabel(at(2026, 10, 24), 7 * 86_400)).toMatch(/24/);
  });

  test('of a year shows the month, and the year in January', () => {
    expect(timeLabel(at(2026, 10, 1), 30 * 86_400)).not.toMatch(/\d{2}/);
    expect(timeLabel(at(2027, 0, 1), 30 * 86_400)).toBe('2027');
  });
});

describe('the value axis', () => {
  const celsius = scaleOf('celsius');

  test('has a margin around the values, but not below zero for values that are never negative', () => {
    const [low, high] = valueRange(0, 100, 'celsius', celsius);

    expect(low).toBe(0);
    expect(high).toBeGreaterThan(100);
  });

  test('does not magnify noise', () => {
    const [low, high] = valueRange(21, 21.01, 'celsius', celsius);

    expect(high - low).toBeGreaterThanOrEqual(1);
  });

  test('shows the unit once, at its top', () => {
    expect(valueLabels([20, 20.5, 21], 'celsius', celsius)).toEqual(['20.0', '20.5', '21.0 °C']);
  });
});

describe('the labels of a value axis', () => {
  test.each([
    [
      [0, 0.25, 0.5, 0.75],
      ['0.00', '0.25', '0.50', '0.75']
    ],
    [
      [0.1, 0.2, 0.3],
      ['0.1', '0.2', '0.3']
    ],
    [
      [0, 2.5, 5],
      ['0.0', '2.5', '5.0']
    ],
    [
      [0, 20, 40],
      ['0', '20', '40']
    ]
  ])('of %j are not rounded', (splits, labels) => {
    expect(valueLabels(splits, '', scaleOf('', 1))).toEqual(labels);
  });
});

describe('the value axis of any magnitude', () => {
  const drawn = (low: number, high: number, unit: string) => {
    const scale = scaleOf(unit, Math.max(Math.abs(low), Math.abs(high)));
    const range = valueRange(scale.of(low), scale.of(high), unit, scale);
    const step = (range[1] - range[0]) / 4;
    const labels = valueLabels(
      [0, 1, 2, 3, 4].map((at) => range[0] + at * step),
      unit,
      scale
    );
    /** How much of the axis the values take. */
    const share = (scale.of(high) - scale.of(low)) / (range[1] - range[0]);
    return { range, labels, share };
  };

  test.each([
    [0, 6e-6, 'flux'],
    [0, 1e-12, 'flux'],
    [2e8, 1e9, 'flux'],
    [-6e-6, -1e-6, 'flux'],
    [-1e12, 1e12, 'flux'],
    [0, 0.02, 'flux'],
    [1e-9, 5e-9, 'celsius'],
    [0, 3e-6, 'volt'],
    [0, 5e-7, ''],
    [0, 1e-300, 'flux']
  ])('shows values from %d to %d in %s over most of its height', (low, high, unit) => {
    expect(drawn(low, high, unit).share).toBeGreaterThan(0.7);
  });

  test.each([
    [1e-12, 'flux'],
    [1e9, 'flux'],
    [-3.5e-6, 'flux'],
    [0, 'flux'],
    [123_456_789, 'count'],
    [21.5, 'celsius']
  ])('has a constant series of %d %s inside its range', (value, unit) => {
    const { range } = drawn(value, value, unit);
    const shown = scaleOf(unit, value).of(value);

    expect(range[0]).toBeLessThanOrEqual(shown);
    expect(range[1]).toBeGreaterThan(shown);
  });

  test.each([
    [0, 6e-6, 'furlong_per_fortnight'],
    [0, 1e9, 'furlong_per_fortnight'],
    [-999_999_999, -999_999_000, 'count'],
    [0, 1e-12, 'flux'],
    [0.000_2, 0.000_4, 'siemens'],
    [100_000, 101_325, 'pascal']
  ])('from %d to %d in %s is at most 102 pixels wide', (low, high, unit) => {
    expect(valueAxisSize({} as uPlot, drawn(low, high, unit).labels)).toBeLessThanOrEqual(102);
  });

  test('shows its power of ten and its unit once, and omits a unit that is too long', () => {
    const tiny = scaleOf('flux', 6e-6);
    expect(valueLabels([0, 2, 4, 6], 'flux', tiny)).toEqual(['0', '2', '4', '6 ×10⁻⁶']);
    const long = scaleOf('furlong_per_fortnight', 6e-6);
    expect(valueLabels([0, 2, 4], '', long)).toEqual(['0', '2', '4 ×10⁻⁶']);
    expect(valueLabels([0, 2, 4], '', scaleOf('volt', 4e-6))).toEqual(['0', '2', '4 µV']);
  });
});

describe('the labels of the time axis', () => {
  const noon = at(2026, 10, 24, 12, 0);

  test('are left out where they would cover the lowest label of the value axis', () => {
    const labels = timeLabels([noon, noon + 300, noon + 600], 300, (moment) => (moment - noon) / 3, 210);

    expect(labels[0]).toBe('');
    expect(labels[1]).toMatch(/12.05/);
    expect(labels[2]).toMatch(/12.10/);
  });

  test('are left out where they would be cut off at the right', () => {
    const labels = timeLabels([noon, noon + 300], 300, (moment) => 50 + (moment - noon) / 3, 150);

    expect(labels[0]).toMatch(/12.00/);
    expect(labels[1]).toBe('');
  });
});
