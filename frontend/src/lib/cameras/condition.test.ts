import { describe, expect, test } from 'vitest';
import { aCamera } from '../live/testing';
import { conditionOf, delivers, type Knowledge, streamedAge } from './condition';

const NOW = 1_795_472_000;

const condition = (rest: Partial<Knowledge> = {}) =>
  conditionOf({ info: aCamera('front'), connected: true, noSignal: false, staleSecs: null, now: NOW, ...rest });

describe('the condition of a camera', () => {
  test('is live while its own frames are shown', () => {
    expect(condition()).toBe('live');
    expect(condition({ info: null })).toBe('live');
  });

  test('is stale, not live, when the frame is older than usual', () => {
    expect(condition({ staleSecs: 3 })).toBe('stale');
  });

  test('is lost while the hub sends its own frame, and when no frame can be expected', () => {
    expect(condition({ noSignal: true })).toBe('lost');
    expect(condition({ noSignal: null, info: aCamera('front', { online: false }) })).toBe('lost');
  });

  test('is waiting while the camera sends frames and none has arrived', () => {
    expect(condition({ noSignal: null })).toBe('waiting');
  });

  test('is none before the first frame', () => {
    expect(condition({ noSignal: null, info: null })).toBe('none');
    expect(condition({ noSignal: true, info: null })).toBe('none');
  });

  test('is disconnected while the hub is not reachable', () => {
    expect(condition({ connected: false })).toBe('disconnected');
    expect(condition({ connected: false, staleSecs: 8 })).toBe('disconnected');
    expect(condition({ connected: false, noSignal: true })).toBe('disconnected');
  });
});

describe('an older hub without `online`', () => {
  const before = aCamera('front', { received_at: NOW, online: undefined });

  test('is judged by the time of the newest frame', () => {
    expect(delivers(before, NOW + 4)).toBe(true);
    expect(delivers(before, NOW + 6)).toBe(false);
  });
});

describe('the age of a streamed frame', () => {
  const age = (fps: number, secs: number) => streamedAge(aCamera('front', { fps, received_at: NOW }), NOW + secs);

  test('is shown after two seconds, or after three intervals of a slower camera', () => {
    expect([age(12, 1.9), age(12, 2.1)]).toEqual([null, 2]);
    expect([age(0.2, 14.9), age(0.2, 15.1)]).toEqual([null, 15]);
  });
});
