import { describe, expect, test } from 'vitest';
import { aCamera } from '../live/testing';
import { conditionOf, delivers, type Knowledge } from './condition';

const NOW = 1_795_472_000;

const condition = (rest: Partial<Knowledge> = {}) =>
  conditionOf({ info: aCamera('front'), connected: true, noSignal: false, now: NOW, ...rest });

describe('a camera’s picture', () => {
  test('is live while the camera’s own is shown', () => {
    expect(condition()).toBe('live');
    expect(condition({ info: null })).toBe('live');
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
    expect(condition({ connected: false })).toBe('away');
    expect(condition({ connected: false, noSignal: true })).toBe('away');
  });
});

describe('a hub that does not say whether its camera is online', () => {
  const before = aCamera('front', { received_at: NOW, online: undefined });

  test('is believed by when it got the newest frame', () => {
    expect(delivers(before, NOW + 4)).toBe(true);
    expect(delivers(before, NOW + 6)).toBe(false);
  });
});
