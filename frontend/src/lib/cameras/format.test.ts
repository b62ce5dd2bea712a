import { expect, test } from 'vitest';
import { aCamera } from '../live/testing';
import { formatDelay, formatDelayBadge, describeDelay, formatAge, formatFps } from './format';

test('a delay is in milliseconds, and in seconds when it is long', () => {
  expect([0.0004, 0.0841, 0.9994, 0.9996, 1.44, -0.003].map(formatDelay)).toEqual([
    '0 ms',
    '84 ms',
    '999 ms',
    '1.0 s',
    '1.4 s',
    '-3 ms'
  ]);
});

test('the badge shows the typical delay only', () => {
  expect(formatDelayBadge({ p50: 0.014, p99: 0.508 })).toBe('Delay 14 ms');
  expect(formatDelayBadge({ p50: 1.44, p99: 12 })).toBe('Delay 1.4 s');
});

test('the tooltip of the badge also shows the worst delay and the delay to the hub', () => {
  const info = aCamera('front', { latency: { p50: 0.012, p99: 0.03 } });

  expect(describeDelay({ p50: 0.084, p99: 0.12 }, info, 0.002)).toBe(
    'Delay to this screen: 84 ms typical, 120 ms worst 1 % (clock accuracy ±2 ms). ' +
      'Delay to hub: 12 ms typical, 30 ms worst 1 %.'
  );
});

test('a rate has a decimal while it is low', () => {
  expect([0, 0.5, 9.94, 9.96, 29.7].map(formatFps)).toEqual(['0 fps', '0.5 fps', '9.9 fps', '10 fps', '30 fps']);
});

test('an age is shown in seconds, then in minutes', () => {
  expect([2, 59, 61, 185, 7260].map(formatAge)).toEqual([
    '2 s old',
    '59 s old',
    '1 min old',
    '3 min old',
    '2 h 1 min old'
  ]);
});
