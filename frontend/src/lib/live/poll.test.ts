import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { poll } from './poll';

describe('a polled action', () => {
  const page = Object.assign(new EventTarget(), { hidden: false });
  const action = vi.fn<(signal: AbortSignal) => Promise<void>>();
  let stop: () => void;

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('document', page);
    page.hidden = false;
    action.mockReset().mockResolvedValue(undefined);
    stop = poll(1_000, action);
  });

  afterEach(() => {
    stop();
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  test('runs at once and then at its interval', () => {
    expect(action).toHaveBeenCalledTimes(1);

    vi.advanceTimersByTime(2_000);

    expect(action).toHaveBeenCalledTimes(3);
  });

  test('pauses while the page is hidden, and runs when it becomes visible', () => {
    page.hidden = true;
    vi.advanceTimersByTime(5_000);
    expect(action).toHaveBeenCalledTimes(1);

    page.hidden = false;
    page.dispatchEvent(new Event('visibilitychange'));

    expect(action).toHaveBeenCalledTimes(2);
  });

  test('runs again after a failure', () => {
    action.mockRejectedValue(new Error('no answer'));

    vi.advanceTimersByTime(2_000);

    expect(action).toHaveBeenCalledTimes(3);
  });

  test('stops, and aborts the request in flight', () => {
    stop();

    vi.advanceTimersByTime(5_000);
    page.dispatchEvent(new Event('visibilitychange'));

    expect(action).toHaveBeenCalledTimes(1);
    expect(action.mock.calls[0]?.[0].aborted).toBe(true);
  });
});
