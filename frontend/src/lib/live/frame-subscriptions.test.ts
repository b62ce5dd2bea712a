import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { Frame } from './frame';
import { MOST_WATCHED, Pictures, rateOf } from './frame-subscriptions.svelte';
import { aFrameMessage } from './testing';

describe('the pictures of several cameras', () => {
  const say = vi.fn();
  const take = vi.fn<(frame: Frame) => void>();
  let pictures: Pictures;

  beforeEach(() => {
    say.mockReset();
    take.mockReset();
    pictures = new Pictures();
  });

  const watch = (moduleId: string, maxFps: number | null = 10) => pictures.watch({ moduleId, maxFps, take });
  const told = async () => {
    await Promise.resolve();
    return say.mock.calls.map(([message]) => message);
  };

  test('are asked for in one message when tiles come together', async () => {
    pictures.begin(say);

    watch('front');
    watch('back', 5);

    const cameras = [
      { module_id: 'back', max_fps: 5 },
      { module_id: 'front', max_fps: 10 }
    ];
    expect(await told()).toEqual([{ type: 'watch', cameras }]);
  });

  test('are watched no more when their tiles are gone', async () => {
    pictures.begin(say);
    const end = watch('front');
    await told();
    say.mockReset();

    end();

    expect(await told()).toEqual([{ type: 'watch', cameras: [] }]);
  });

  test('are not asked for anew when a tile only changed its mind', async () => {
    pictures.begin(say);
    const end = watch('front');
    await told();

    end();
    watch('front');

    expect(await told()).toHaveLength(1);
  });

  test('come at the rate of whoever wants the most, and to everybody', async () => {
    pictures.begin(say);
    watch('front', 5);
    watch('front', 10);
    expect(await told()).toEqual([{ type: 'watch', cameras: [{ module_id: 'front', max_fps: 10 }] }]);

    watch('front', null);
    expect((await told()).at(-1)).toEqual({ type: 'watch', cameras: [{ module_id: 'front' }] });

    pictures.take(aFrameMessage({ moduleId: 'front' }));
    expect(take).toHaveBeenCalledTimes(3);
  });

  test('are no more than a connection may have', async () => {
    pictures.begin(say);

    for (let at = 0; at < 80; at += 1) watch(`camera-${at}`);

    expect((await told())[0].cameras).toHaveLength(MOST_WATCHED);
  });

  test('that nobody watches any more are dropped, and so is what is no picture', () => {
    pictures.begin(say);
    watch('front');

    pictures.take(aFrameMessage({ moduleId: 'back' }));
    pictures.take(new ArrayBuffer(7));

    expect(take).not.toHaveBeenCalled();
  });

  test('that were painted are acknowledged by their number', () => {
    pictures.begin(say);
    watch('front');
    pictures.take(aFrameMessage({ moduleId: 'front', seq: 12 }));

    pictures.shown(take.mock.calls[0]?.[0] as Frame);

    expect(say).toHaveBeenLastCalledWith({ type: 'shown', module_id: 'front', seq: 12 });
  });

  test('say nothing to a connection that ended', async () => {
    pictures.begin(say);
    pictures.end();

    watch('front');

    expect(await told()).toEqual([]);
  });
});

test('a bigger tile is worth more frames', () => {
  expect([120, 300, 480, 800].map(rateOf)).toEqual([5, 10, 10, 15]);
});
