import { describe, expect, test } from 'vitest';
import { ClockOffset } from './offset';

const NOW = 1_795_472_000;

describe('the hub’s clock', () => {
  test('is unknown before the first response', () => {
    const offset = new ClockOffset();

    expect(offset.secs).toBeNull();
    expect(offset.maxErrorSecs).toBeNull();
  });

  test('is assumed to be read half-way through the round trip', () => {
    const offset = new ClockOffset();

    offset.addSample(NOW, NOW + 0.1, NOW + 5.05);

    expect(offset.secs).toBeCloseTo(5);
    expect(offset.maxErrorSecs).toBeCloseTo(0.05);
  });

  test('comes from the response with the shortest round trip', () => {
    const offset = new ClockOffset();

    offset.addSample(NOW, NOW + 0.4, NOW + 5.35);
    offset.addSample(NOW + 1, NOW + 1.02, NOW + 6.01);
    offset.addSample(NOW + 2, NOW + 2.3, NOW + 7.05);

    expect(offset.secs).toBeCloseTo(5);
  });

  test('uses only the last eight responses, however good an older one was', () => {
    const offset = new ClockOffset();
    offset.addSample(NOW, NOW + 0.002, NOW + 5.001);

    for (let at = 1; at <= 8; at += 1) offset.addSample(NOW + at, NOW + at + 0.2, NOW + at + 5.15);

    expect(offset.count).toBe(8);
    expect(offset.secs).toBeCloseTo(5.05);
  });

  test('is updated at once when a clock was set', () => {
    const offset = new ClockOffset();
    offset.addSample(NOW, NOW + 0.002, NOW + 0.001);

    offset.addSample(NOW + 10, NOW + 10.2, NOW + 3610.1);

    expect(offset.secs).toBeCloseTo(3600);
    expect(offset.count).toBe(1);
  });

  test('ignores a response that arrived before its request', () => {
    const offset = new ClockOffset();

    offset.addSample(NOW, NOW - 30, NOW);

    expect(offset.secs).toBeNull();
  });
});
