import { beforeEach, describe, expect, test, vi } from 'vitest';
import { type Fetch, FrameCache } from './frame-cache';

describe('recorded pictures', () => {
  const fetch = vi.fn<Fetch>();
  let store: FrameCache;

  beforeEach(() => {
    fetch.mockReset();
    fetch.mockImplementation((capturedAt) => Promise.resolve({ jpeg: new Blob(), capturedAt }));
    store = new FrameCache(fetch);
  });

  const asked = () => fetch.mock.calls.map(([time]) => time);

  test('are asked for once', async () => {
    await store.get(1);
    await store.get(1);

    expect(asked()).toEqual([1]);
  });

  test('are asked for ahead, and there when they are wanted', async () => {
    await store.get(1);
    store.prefetch(1, [2, 3]);

    await store.get(2);

    expect(asked()).toEqual([1, 2, 3]);
  });

  test('that nobody waits for any more are given up', () => {
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

  test('that did not come are asked for again', async () => {
    fetch.mockRejectedValueOnce(new Error('disconnected'));
    await expect(store.get(1)).rejects.toThrow('disconnected');

    await expect(store.get(1)).resolves.toMatchObject({ capturedAt: 1 });
  });

  test('are not kept without end', async () => {
    for (let time = 0; time < 100; time += 1) await store.get(time);
    await store.get(99);
    expect(fetch).toHaveBeenCalledTimes(100);

    await store.get(0);

    expect(fetch).toHaveBeenCalledTimes(101);
  });
});
