import { expect, test } from 'vitest';
import { isStale } from './staleness';

test('nothing is old before two seconds', () => {
  expect([isStale(2, 0.08), isStale(2.1, 0.08)]).toEqual([false, true]);
});

test('what comes at longer intervals is old after three of them', () => {
  expect([isStale(15, 5), isStale(15.1, 5)]).toEqual([false, true]);
});
