import { expect, test } from 'vitest';
import { isOld } from './staleness';

test('nothing is old before two seconds', () => {
  expect([isOld(2, 0.08), isOld(2.1, 0.08)]).toEqual([false, true]);
});

test('what comes at longer intervals is old after three of them', () => {
  expect([isOld(15, 5), isOld(15.1, 5)]).toEqual([false, true]);
});
