import { beforeEach, describe, expect, test, vi } from 'vitest';
import { type Fetch, FrameCache } from './frame-cache';

describe('recorded frames', () => {
  const fetch = vi.fn<Fetch>();
  let store: FrameCache;

  beforeEach(() => {
    fetch.mockReset();
    fetch.mockImplementation((capturedAt) => Promise.resolve({ jpeg: new Blob(), capturedAt }));
    store = new FrameCache(fetch);
  });

  const asked = () => fetch.mock.calls.map(([time]) => time);

  test('are requested once', async () => {
    await store.get(1);
    await store.get(1);

    expect(asked()).toEqual([1]);
  });

  test('are prefetched, and available when needed', async () => {
    await store.get(1);
    store.prefetch(1, [2, 3]);

    await store.get(2);

    expect(asked()).toEqual([1, 2, 3]);
  });

  test('that are no longer needed are aborted', () => {
    fetch.mockImplementation(() => new Promise(() => {}));
    void store.get(1);
    store.prefetch(1, [2, 3]);

    store.prefetch(3, [4]);

    const given = fetch.mock.calls.map(([time, signal]) => [time, signal.aborted]);
    expect(given).toEqual([
      [1, true],
      [2, true],
      [3, false],
      [4, false]
    ]);
  });

  test('that failed are requested again', async () => {
    fetch.mockRejectedValueOnce(new Error('disconnected'));
    await expect(store.get(1)).rejects.toThrow('disconnected');

    await expect(store.get(1)).resolves.toMatchObject({ capturedAt: 1 });
  });

  test('are kept up to a limit', async () => {
    for (let time = 0; time < 100; time += 1) await store.get(time);
    await store.get(99);
    expect(fetch).toHaveBeenCalledTimes(100);

    await store.get(0);

    expect(fetch).toHaveBeenCalledTimes(101);
  });
});
