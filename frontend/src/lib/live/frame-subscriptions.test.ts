import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { Frame } from './frame';
import { MAX_WATCHED, FrameSubscriptions, maxFpsOf } from './frame-subscriptions.svelte';
import { aFrameMessage } from './testing';

describe('the frames of several cameras', () => {
  const send = vi.fn();
  const take = vi.fn<(frame: Frame) => void>();
  let frames: FrameSubscriptions;

  beforeEach(() => {
    send.mockReset();
    take.mockReset();
    frames = new FrameSubscriptions();
  });

  const subscribe = (moduleId: string, maxFps: number | null = 10) => frames.subscribe({ moduleId, maxFps, take });
  const sentMessages = async () => {
    await Promise.resolve();
    return send.mock.calls.map(([message]) => message);
  };

  test('are requested in one message when tiles are mounted together', async () => {
    frames.attach(send);

    subscribe('front');
    subscribe('back', 5);

    const cameras = [
      { module_id: 'back', max_fps: 5 },
      { module_id: 'front', max_fps: 10 }
    ];
    expect(await sentMessages()).toEqual([{ type: 'watch', cameras }]);
  });

  test('are no longer requested when their tiles are removed', async () => {
    frames.attach(send);
    const unsubscribe = subscribe('front');
    await sentMessages();
    send.mockReset();

    unsubscribe();

    expect(await sentMessages()).toEqual([{ type: 'watch', cameras: [] }]);
  });

  test('are not requested again when a tile is removed and added at once', async () => {
    frames.attach(send);
    const unsubscribe = subscribe('front');
    await sentMessages();

    unsubscribe();
    subscribe('front');

    expect(await sentMessages()).toHaveLength(1);
  });

  test('arrive at the highest requested rate, at every subscriber', async () => {
    frames.attach(send);
    subscribe('front', 5);
    subscribe('front', 10);
    expect(await sentMessages()).toEqual([{ type: 'watch', cameras: [{ module_id: 'front', max_fps: 10 }] }]);

    subscribe('front', null);
    expect((await sentMessages()).at(-1)).toEqual({ type: 'watch', cameras: [{ module_id: 'front' }] });

    frames.dispatch(aFrameMessage({ moduleId: 'front' }));
    expect(take).toHaveBeenCalledTimes(3);
  });

  test('are limited to those of MAX_WATCHED cameras', async () => {
    frames.attach(send);

    for (let at = 0; at < 80; at += 1) subscribe(`camera-${at}`);

    expect((await sentMessages())[0].cameras).toHaveLength(MAX_WATCHED);
  });

  test('without a subscriber are dropped, and so are malformed messages', () => {
    frames.attach(send);
    subscribe('front');

    frames.dispatch(aFrameMessage({ moduleId: 'back' }));
    frames.dispatch(new ArrayBuffer(7));

    expect(take).not.toHaveBeenCalled();
  });

  test('are acknowledged by their number', () => {
    frames.attach(send);
    subscribe('front');
    frames.dispatch(aFrameMessage({ moduleId: 'front', seq: 12 }));

    frames.acknowledge(take.mock.calls[0]?.[0] as Frame);

    expect(send).toHaveBeenLastCalledWith({ type: 'shown', module_id: 'front', seq: 12 });
  });

  test('are not requested on a closed connection', async () => {
    frames.attach(send);
    frames.detach();

    subscribe('front');

    expect(await sentMessages()).toEqual([]);
  });
});

test('a bigger tile gets more frames', () => {
  expect([120, 300, 480, 800].map(maxFpsOf)).toEqual([5, 10, 10, 15]);
});
