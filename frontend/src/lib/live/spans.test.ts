import { describe, expect, test } from 'vitest';
import { MAX_POINTS, SPANS } from './spans';

describe('a span', () => {
  test.each(SPANS.filter((span) => span.bucket !== null))('of a $key has no more points than a chart takes', (span) => {
    expect(Math.ceil(span.secs / (span.bucket?.secs ?? 1)) + 1).toBeLessThanOrEqual(MAX_POINTS);
  });

  test('of an hour is live: it has no aggregates', () => {
    expect(SPANS[0]).toMatchObject({ key: 'hour', bucket: null });
  });
});
