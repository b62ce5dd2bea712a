import { describe, expect, test } from 'vitest';
import { aCamera } from '../live/testing';
import { conditionOf, delivers, type Knowledge, streamedAge } from './condition';

const NOW = 1_795_472_000;

const condition = (rest: Partial<Knowledge> = {}) =>
  conditionOf({ info: aCamera('front'), connected: true, noSignal: false, staleSecs: null, now: NOW, ...rest });

describe('a camera’s picture', () => {
  test('is live while the camera’s own is shown', () => {
    expect(condition()).toBe('live');
    expect(condition({ info: null })).toBe('live');
  });

  test('is old, not live, when it is older than usual', () => {
    expect(condition({ staleSecs: 3 })).toBe('stale');
  });

  test('is lost while the hub draws it, and when there is none to wait for', () => {
    expect(condition({ noSignal: true })).toBe('lost');
    expect(condition({ noSignal: null, info: aCamera('front', { online: false }) })).toBe('lost');
  });

  test('is waited for when the camera delivers', () => {
    expect(condition({ noSignal: null })).toBe('waiting');
  });

  test('is none while the camera never delivered', () => {
    expect(condition({ noSignal: null, info: null })).toBe('none');
    expect(condition({ noSignal: true, info: null })).toBe('none');
  });

  test('is what was last seen while the hub is away, whatever it was', () => {
    expect(condition({ connected: false })).toBe('disconnected');
    expect(condition({ connected: false, staleSecs: 8 })).toBe('disconnected');
    expect(condition({ connected: false, noSignal: true })).toBe('disconnected');
  });
});

describe('a hub that does not say whether its camera is online', () => {
  const before = aCamera('front', { received_at: NOW, online: undefined });

  test('is believed by when it got the newest frame', () => {
    expect(delivers(before, NOW + 4)).toBe(true);
    expect(delivers(before, NOW + 6)).toBe(false);
  });
});

describe('the age of a streamed picture', () => {
  const age = (fps: number, secs: number) => streamedAge(aCamera('front', { fps, received_at: NOW }), NOW + secs);

  test('is shown after two seconds, or after three intervals of a slower camera', () => {
    expect([age(12, 1.9), age(12, 2.1)]).toEqual([null, 2]);
    expect([age(0.2, 14.9), age(0.2, 15.1)]).toEqual([null, 15]);
  });
});
