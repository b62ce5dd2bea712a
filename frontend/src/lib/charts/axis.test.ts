import { describe, expect, test } from 'vitest';
import { scaleOf } from '../units/units';
import { timeLabel, valueLabels, valueRange } from './axis';

const at = (...parts: [number, number, number, number?, number?]): number => new Date(...parts).getTime() / 1000;

describe('the time axis', () => {
  test('of an hour says the time, and the day only where it begins', () => {
    expect(timeLabel(at(2026, 10, 24, 13, 5), 300)).toMatch(/13.05/);
    expect(timeLabel(at(2026, 10, 25), 300)).toMatch(/25/);
    expect(timeLabel(at(2026, 10, 25), 300)).not.toMatch(/00/);
  });

  test('of a month says the day', () => {
    expect(timeLabel(at(2026, 10, 24), 7 * 86_400)).toMatch(/24/);
  });

  test('of a year says the month, and the year where it begins', () => {
    expect(timeLabel(at(2026, 10, 1), 30 * 86_400)).not.toMatch(/\d{2}/);
    expect(timeLabel(at(2027, 0, 1), 30 * 86_400)).toBe('2027');
  });
});

describe('the value axis', () => {
  const celsius = scaleOf('celsius');

  test('leaves room about the values, but none below zero for what is never negative', () => {
    const [low, high] = valueRange(0, 100, 'celsius', celsius);

    expect(low).toBe(0);
    expect(high).toBeGreaterThan(100);
  });

  test('does not make an event of noise', () => {
    const [low, high] = valueRange(21, 21.01, 'celsius', celsius);

    expect(high - low).toBeGreaterThanOrEqual(1);
  });

  test('says the unit once, at its top', () => {
    expect(valueLabels([20, 20.5, 21], 'celsius', celsius)).toEqual(['20.0', '20.5', '21.0 °C']);
  });
});
