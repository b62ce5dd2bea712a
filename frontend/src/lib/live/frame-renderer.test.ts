import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Frame } from './frame';
import { FrameRenderer } from './frame-renderer.svelte';

const NOW = 1_795_472_000;

const aFrame = (seq: number, rest: Partial<Frame> = {}): Frame => ({
  moduleId: 'front',
  seq,
  noSignal: false,
  capturedAt: NOW,
  receivedAt: NOW,
  jpeg: new Uint8Array([seq]),
  ...rest
});

/** A browser that decodes and paints on demand. */
class SlowBrowser {
  readonly drawn: number[] = [];
  readonly discarded: number[] = [];
  decoding: { seq: number; finish: () => void; fail: () => void } | null = null;
  paint: () => void = () => {};

  readonly decode = (jpeg: Uint8Array) =>
    new Promise<number>((resolve, reject) => {
      const seq = jpeg[0] as number;
      this.decoding = { seq, finish: () => resolve(seq), fail: () => reject(new Error('broken')) };
    });
  readonly draw = (seq: number) => void this.drawn.push(seq);
  readonly discard = (seq: number) => void this.discarded.push(seq);
  readonly nextPaint = () => new Promise<void>((resolve) => (this.paint = resolve));
}

describe('a renderer', () => {
  let browser: SlowBrowser;
  let renderer: FrameRenderer<number>;
  let stop: () => void;
  let done: number[];
  let hubNow: number | null;

  beforeEach(() => {
    vi.useFakeTimers({ now: NOW * 1000 });
    browser = new SlowBrowser();
    done = [];
    hubNow = NOW;
    renderer = new FrameRenderer({ target: browser, onDone: ({ seq }) => done.push(seq), hubNow: () => hubNow });
    stop = renderer.start();
  });

  afterEach(() => {
    stop();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  const settle = () => vi.advanceTimersByTimeAsync(0);
  const decoded = async () => {
    browser.decoding?.finish();
    await settle();
  };
  const painted = async () => {
    browser.paint();
    await settle();
  };

  test('acknowledges a frame when it was painted, not before', async () => {
    renderer.take(aFrame(1));
    await decoded();
    expect(browser.drawn).toEqual([1]);
    expect(done).toEqual([]);
    expect(renderer.painted).toBe(false);

    await painted();

    expect(done).toEqual([1]);
    expect(renderer.painted).toBe(true);
  });

  test('keeps only the newest frame waiting while one is being decoded', async () => {
    for (const seq of [1, 2, 3, 4]) renderer.take(aFrame(seq));

    await decoded();
    await painted();
    expect(browser.decoding?.seq).toBe(4);
    await decoded();
    await painted();

    expect(browser.drawn).toEqual([1, 4]);
    expect(done).toEqual([1, 4]);
  });

  test('continues after a frame that cannot be decoded, and keeps the last good one', async () => {
    renderer.take(aFrame(1));
    renderer.take(aFrame(2));

    browser.decoding?.fail();
    await settle();
    await decoded();
    await painted();

    expect(browser.drawn).toEqual([2]);
    expect(done).toEqual([1, 2]);
  });

  test('measures from capture to display, by the hub’s clock', async () => {
    renderer.take(aFrame(1, { capturedAt: NOW - 0.02 }));
    await decoded();
    hubNow = NOW + 0.064;
    await painted();

    expect(renderer.latency?.p50).toBeCloseTo(0.084);
    expect(renderer.capturedAt).toBe(NOW - 0.02);
  });

  test('measures no delay without a clock offset', async () => {
    hubNow = null;

    renderer.take(aFrame(1));
    await decoded();
    await painted();

    expect(renderer.painted).toBe(true);
    expect(renderer.latency).toBeNull();
  });

  test('shows a lost camera as lost, and the camera when it is back', async () => {
    renderer.take(aFrame(1, { capturedAt: NOW - 30 }));
    await decoded();
    await painted();

    renderer.take(aFrame(2, { noSignal: true, capturedAt: NOW }));
    await decoded();
    await painted();
    expect(renderer.noSignal).toBe(true);
    expect(renderer.capturedAt).toBe(NOW - 30);
    expect(renderer.latency?.p50).toBeCloseTo(30);

    renderer.take(aFrame(3, { capturedAt: NOW }));
    await decoded();
    await painted();
    expect(renderer.noSignal).toBe(false);
  });

  test('reports its rate, which falls without new frames', async () => {
    for (let seq = 1; seq <= 21; seq += 1) {
      renderer.take(aFrame(seq));
      await decoded();
      await painted();
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(renderer.fps).toBeGreaterThan(9);
    expect(renderer.fps).toBeLessThan(11);

    await vi.advanceTimersByTimeAsync(4_000);

    expect(renderer.fps).toBe(0);
  });

  test('drops frames after it was stopped', async () => {
    renderer.take(aFrame(1));
    stop();
    await decoded();

    expect(browser.drawn).toEqual([]);
    expect(browser.discarded).toEqual([1]);
    renderer.take(aFrame(2));
    expect(done).toEqual([]);
  });

  describe('reports the age of its frame', () => {
    const paint = async (frame: Frame) => {
      renderer.take(frame);
      await decoded();
      await painted();
    };
    const after = async (milliseconds: number) => {
      await vi.advanceTimersByTimeAsync(milliseconds);
      return renderer.staleSecs;
    };

    test('when it is older than two seconds, by the browser’s clock', async () => {
      await paint(aFrame(1));

      expect(await after(2_000)).toBeNull();
      expect(await after(500)).toBe(2);
      expect(await after(5_000)).toBe(7);
    });

    test('from its capture time', async () => {
      hubNow = NOW + 40;

      await paint(aFrame(1));

      expect(renderer.staleSecs).toBe(40);
    });

    test('from the time of painting, without a clock offset', async () => {
      hubNow = null;

      await paint(aFrame(1, { capturedAt: NOW - 3600 }));

      expect(renderer.staleSecs).toBeNull();
      expect(await after(2_500)).toBe(2);
    });

    test('after three frame intervals, when those are longer', async () => {
      hubNow = null;
      for (let seq = 1; seq <= 6; seq += 1) {
        await paint(aFrame(seq));
        await vi.advanceTimersByTimeAsync(seq < 6 ? 4_000 : 0);
      }

      expect(await after(12_000)).toBeNull();
      expect(await after(500)).toBe(12);
    });

    test('until a new one is painted', async () => {
      hubNow = null;
      await paint(aFrame(1));
      expect(await after(60_000)).toBe(60);

      await paint(aFrame(2));

      expect(renderer.staleSecs).toBeNull();
    });
  });
});
