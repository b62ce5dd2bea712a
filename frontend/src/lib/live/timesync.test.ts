import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { TimeSync } from './timesync';

const NOW = 1_795_472_000;

describe('the hub’s time is requested', () => {
  const ask = vi.fn<(clientTime: number) => void>();
  let sync: TimeSync;

  beforeEach(() => {
    vi.useFakeTimers({ now: NOW * 1000 });
    ask.mockReset();
    sync = new TimeSync(ask);
    sync.start();
  });

  afterEach(() => {
    sync.stop();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  const answerAfter = (milliseconds: number, ahead = 0) => {
    const asked = ask.mock.lastCall?.[0] ?? NaN;
    vi.advanceTimersByTime(milliseconds);
    sync.answer(asked, asked + ahead + milliseconds / 2000);
  };

  test('eight times, each after the previous response', () => {
    expect(ask).toHaveBeenCalledTimes(1);

    for (let answered = 1; answered < 8; answered += 1) {
      answerAfter(20);
      expect(ask).toHaveBeenCalledTimes(answered + 1);
    }
    answerAfter(20);

    expect(ask).toHaveBeenCalledTimes(8);
  });

  test('then every ten seconds', () => {
    for (let answered = 0; answered < 8; answered += 1) answerAfter(20);

    vi.advanceTimersByTime(10_000);
    expect(ask).toHaveBeenCalledTimes(9);
    answerAfter(20);
    vi.advanceTimersByTime(10_000);
    expect(ask).toHaveBeenCalledTimes(10);
  });

  test('again without a response', () => {
    vi.advanceTimersByTime(10_000);

    expect(ask).toHaveBeenCalledTimes(2);
  });

  test('and its offset comes from the fastest response', () => {
    answerAfter(200, 3);
    answerAfter(4, 3);
    answerAfter(90, 3);

    expect(sync.offset.secs).toBeCloseTo(3);
    expect(sync.offset.maxErrorSecs).toBeCloseTo(0.002);
  });

  test('again from the start after a reconnect', () => {
    answerAfter(4, 3);

    sync.start();

    expect(sync.offset.secs).toBeNull();
    expect(ask).toHaveBeenCalledTimes(3);
  });
});
