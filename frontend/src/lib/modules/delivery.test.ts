import { describe, expect, test } from 'vitest';
import type { Delivery, GapReason } from '../api/types';
import { formatDate } from '../units/names';
import { deliverySummary, isComplete, lossSummary, lostSeriesName } from './delivery';

const SINCE = 1_795_472_000;
const delivery = (rest: Partial<Delivery>): Delivery => ({
  since: SINCE,
  expected: 1_000,
  received: 1_000,
  lost: 0,
  missing: 0,
  ...rest
});

describe('the delivery summary of a module', () => {
  test('without losses says that all readings were received, and since when', () => {
    expect(deliverySummary(delivery({}))).toBe(`All 1\u202f000 readings received since ${formatDate(SINCE)}`);
    expect(isComplete(delivery({}))).toBe(true);
  });

  test('distinguishes lost readings from pending ones', () => {
    const account = delivery({ received: 985, lost: 12, missing: 3 });

    expect(deliverySummary(account)).toBe(`12 lost, 3 pending since ${formatDate(SINCE)}`);
    expect(isComplete(account)).toBe(false);
  });

  test('is not complete while readings are pending, even if none is lost', () => {
    expect(isComplete(delivery({ received: 999, missing: 1 }))).toBe(false);
  });
});

test('the series of a gap is named with its channel, if the module knows it', () => {
  expect(lostSeriesName({ type: 'temperature' })).toBe('temperature');
  expect(lostSeriesName({ type: 'temperature', channel: 'supply' })).toBe('temperature (supply)');
  expect(lostSeriesName({ type: null })).toBe('unknown type');
});

describe('a list of gaps', () => {
  test('gives the number of lost readings, and each reason once', () => {
    const gaps = [
      { lost: 30, reason: 'full' },
      { lost: 10, reason: 'full' },
      { lost: 1, reason: 'killed' }
    ] as const;

    expect(lossSummary(gaps)).toBe(
      '41 readings lost: the module ran out of space for unsent readings; the module stopped before it saved them'
    );
  });

  test('that is incomplete gives a minimum', () => {
    expect(lossSummary([{ lost: 1, reason: 'full' }], false)).toBe(
      'At least 1 reading lost: the module ran out of space for unsent readings'
    );
  });

  test('of a newer hub gives an unknown reason as it is', () => {
    const gap = { lost: 1, reason: 'of_tomorrow' as GapReason };

    expect(lossSummary([gap])).toBe('1 reading lost: of_tomorrow');
  });

  test('without entries gives no text', () => {
    expect(lossSummary([])).toBeNull();
  });
});
