import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { channelTooltip, formatAgo, formatAhead, seriesTitle, timeSourceNote, titleOf } from './names';
import { formatDuration, scaleOf, formatValue } from './units';

const text = (value: number, unit: string): string => {
  const shown = formatValue(value, unit);
  return shown.symbol ? `${shown.value} ${shown.symbol}` : shown.value;
};

describe('a value', () => {
  test.each([
    [21.44, 'celsius', '21.4 °C'],
    [-0.04, 'celsius', '-0.040 °C'],
    [0.3, 'lux', '0.30 lx'],
    [45.2, 'percent', '45.2 %'],
    [101_325, 'pascal', '1\u202f013.3 hPa'],
    [1_500, 'lux', '1\u202f500 lx'],
    [3.3, 'volt', '3.30 V'],
    [50, 'hertz', '50.0 Hz'],
    [1_500_000_000, 'hertz', '1.50 GHz'],
    [868_000_000, 'hertz', '868 MHz'],
    [12_500, 'watt', '12.5 kW'],
    [0.000_005, 'volt', '5.00 µV'],
    [-2.4e-9, 'ampere', '-2.40 nA'],
    [4e-7, 'seconds', '400 ns'],
    [3e-20, 'volt', '30.00 ×10⁻²¹ V'],
    [0, 'volt', '0.00 V'],
    [1e-12, 'flux', '1.00 ×10⁻¹² flux'],
    [-6e-6, 'flux', '-6.00 ×10⁻⁶ flux'],
    [1e9, 'flux', '1.00 ×10⁹ flux'],
    [-123_456, 'flux', '-123\u202f456 flux'],
    [0.02, 'flux', '0.0200 flux'],
    [3e-7, 'celsius', '300.00 ×10⁻⁹ °C'],
    [Number.MIN_VALUE, 'flux', '0.00 ×10⁻³⁰⁶ flux'],
    [Number.MAX_VALUE, 'flux', '179.77 ×10³⁰⁶ flux'],
    [512, 'bytes', '512 B'],
    [8.25e9, 'bytes', '8.25 GB'],
    [3e8, 'bytes', '300 MB'],
    [415, 'ppm', '415 ppm'],
    [7, 'count', '7'],
    [0.418, 'count', '0.42'],
    [1, 'boolean', 'Yes'],
    [0, 'boolean', 'No'],
    [273_840, 'seconds', '3 d 4 h'],
    [12.34, 'microgram_per_cubic_metre', '12.3 µg/m³'],
    [1.5, 'cubic_metre', '1.500 m³'],
    [4.7, 'kiloohm', '4.70 kΩ'],
    [7.2, 'none', '7.20'],
    [29.92, 'inch_of_mercury', '29.92 inHg'],
    [200, 'umol/m2/s', '200.00 µmol/m²/s'],
    [3, 'users', '3.00 users'],
    [0.25, '€/kWh', '0.250 €/kWh'],
    [2.5, 'furlong_per_fortnight', '2.50 furlong per fortnight']
  ])('%d %s reads %s', (value, unit, expected) => {
    expect(text(value, unit)).toBe(expected);
  });

  test('of zero is never minus zero', () => {
    expect(text(-0, 'celsius')).toBe('0.0 °C');
  });

  test('in a custom unit gets more decimals when it is small', () => {
    expect(text(0.000_4, 'siemens')).toBe('0.000400 siemens');
  });

  test('without a unit is just a number', () => {
    expect(formatValue(3, '')).toEqual({ value: '3.00', symbol: '' });
  });
});

test('one chart has one scale, whatever the single value is', () => {
  const scale = scaleOf('bytes', 2 * 1024 ** 3);

  expect(formatValue(5e8, 'bytes', scale)).toEqual({ value: '0.50', symbol: 'GB' });
});

test('every named unit of the hub has a symbol', () => {
  const table = readFileSync('../iotpi-core/src/model/unit/table.rs', 'utf8');
  const words = [...table.matchAll(/^ {8}(?:unit|rounded|degrees)\("(\w+)"/gm)].map((match) => match[1] ?? '');

  const unnamed = words.filter((word) => {
    const { symbol, format } = scaleOf(word);
    return format === undefined && symbol === word.replaceAll('_', ' ');
  });

  expect(words.length).toBeGreaterThan(100);
  expect(unnamed).toEqual(['bar', 'psi', 'ppm', 'ppb']);
});

describe('a duration', () => {
  test.each([
    [0, '0 s'],
    [0.5, '0.5 s'],
    [59.9, '59 s'],
    [60, '1 min'],
    [90, '1 min 30 s'],
    [3_600, '1 h'],
    [3_661, '1 h 1 min'],
    [90_000, '1 d 1 h'],
    [86_460, '1 d']
  ])('of %d seconds reads %s', (seconds, expected) => {
    expect(formatDuration(seconds)).toBe(expected);
  });
});

describe('an age', () => {
  test.each([
    [-3, 'just now'],
    [1.2, 'just now'],
    [12, '12 s ago'],
    [61, '1 min ago'],
    [7_300, '2 h ago'],
    [200_000, '2 d ago']
  ])('of %d seconds reads %s', (seconds, expected) => {
    expect(formatAgo(seconds)).toBe(expected);
  });
});

test.each([
  ['cpu-temperature', 'CPU temperature'],
  ['soil_moisture', 'Soil moisture'],
  ['co2', 'CO₂']
])('the id %s is titled %s', (id, title) => {
  expect(titleOf(id)).toBe(title);
});

test.each([
  [null, 'Temperature', undefined],
  ['supply', 'Temperature · supply', undefined],
  ['l1', 'Temperature · l1', undefined],
  ['supply-air_2', 'Temperature · supply air 2', 'Channel supply-air_2'],
  ['cpu', 'Temperature · CPU', 'Channel cpu'],
  // A serial number is not taken apart.
  ['28-0316a2790c1b', 'Temperature · 28-0316a2790c1b', undefined],
  [
    'a-0123456789-0123456789-0123456789',
    'Temperature · a-012345678…9-0123456789',
    'Channel a-0123456789-0123456789-0123456789'
  ]
])('the channel %s is titled %s, with the tooltip %s', (channel, title, tooltip) => {
  expect(seriesTitle('temperature', channel)).toBe(title);
  expect(channelTooltip(channel)).toBe(tooltip);
});

test('a time ahead is shown in seconds, then in minutes', () => {
  expect([6, 59, 61, 119, 299].map(formatAhead)).toEqual([
    '6 s ahead',
    '59 s ahead',
    '1 min ahead',
    '2 min ahead',
    '5 min ahead'
  ]);
});

test('an unusual time source gets a note', () => {
  expect(timeSourceNote('arrival')).toContain('ahead');
  expect(timeSourceNote('hub_unsynced')).not.toBeNull();
  expect(['module', 'hub', 'estimated', undefined].map(timeSourceNote)).toEqual([null, null, null, null]);
});
