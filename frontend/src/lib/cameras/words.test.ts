import { expect, test } from 'vitest';
import { aCamera } from '../live/testing';
import { delay, latencyMeans, latencyOf, old, rate } from './words';

test('a delay is told in milliseconds, and in seconds when it is long', () => {
  expect([0.0004, 0.0841, 0.9994, 0.9996, 1.44, -0.003].map(delay)).toEqual([
    '0 ms',
    '84 ms',
    '999 ms',
    '1.0 s',
    '1.4 s',
    '-3 ms'
  ]);
});

test('a latency badge says its unit once, unless there are two', () => {
  expect(latencyOf({ p50: 0.084, p99: 0.12 })).toBe('84 ms · p99 120');
  expect(latencyOf({ p50: 0.084, p99: 1.2 })).toBe('84 ms · p99 1.2 s');
});

test('what the badge means says how much of it was the way to the hub', () => {
  const info = aCamera('front', { latency: { p50: 0.012, p99: 0.03 } });

  expect(latencyMeans({ p50: 0.084, p99: 0.12 }, info, 0.002)).toBe(
    'From capture to this screen: half of the pictures within 84 ms, 99 % within 120 ms (clocks compared to within 2 ms). ' +
      'Of that, camera to hub: 12 ms, 99 % within 30 ms.'
  );
});

test('a rate has a decimal while it is low', () => {
  expect([0, 0.5, 9.94, 9.96, 29.7].map(rate)).toEqual(['0 fps', '0.5 fps', '9.9 fps', '10 fps', '30 fps']);
});

test('an age is told by the second, then by the minute', () => {
  expect([2, 59, 61, 185, 7260].map(old)).toEqual(['2 s old', '59 s old', '1 min old', '3 min old', '2 h 1 min old']);
});
