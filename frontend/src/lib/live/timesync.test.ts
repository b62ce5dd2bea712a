import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { TimeSync } from './timesync';

const NOW = 1_795_472_000;

describe('the hub’s time is requested', () => {
  const send = vi.fn<(clientTime: number) => void>();
  let sync: TimeSync;

  beforeEach(() => {
    vi.useFakeTimers({ now: NOW * 1000 });
    send.mockReset();
    sync = new TimeSync(send);
    sync.start();
  });

  afterEach(() => {
    sync.stop();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  const respondAfter = (milliseconds: number, ahead = 0) => {
    const clientTime = send.mock.lastCall?.[0] ?? NaN;
    vi.advanceTimersByTime(milliseconds);
    sync.addResponse(clientTime, clientTime + ahead + milliseconds / 2000);
  };

  test('eight times, each after the previous response', () => {
    expect(send).toHaveBeenCalledTimes(1);

    for (let responses = 1; responses < 8; responses += 1) {
      respondAfter(20);
      expect(send).toHaveBeenCalledTimes(responses + 1);
    }
    respondAfter(20);

    expect(send).toHaveBeenCalledTimes(8);
  });

  test('then every ten seconds', () => {
    for (let responses = 0; responses < 8; responses += 1) respondAfter(20);

    vi.advanceTimersByTime(10_000);
    expect(send).toHaveBeenCalledTimes(9);
    respondAfter(20);
    vi.advanceTimersByTime(10_000);
    expect(send).toHaveBeenCalledTimes(10);
  });

  test('again without a response', () => {
    vi.advanceTimersByTime(10_000);

    expect(send).toHaveBeenCalledTimes(2);
  });

  test('and its offset comes from the fastest response', () => {
    respondAfter(200, 3);
    respondAfter(4, 3);
    respondAfter(90, 3);

    expect(sync.offset.secs).toBeCloseTo(3);
    expect(sync.offset.maxErrorSecs).toBeCloseTo(0.002);
  });

  test('again from the start after a reconnect', () => {
    respondAfter(4, 3);

    sync.start();

    expect(sync.offset.secs).toBeNull();
    expect(send).toHaveBeenCalledTimes(3);
  });
});
