import { expect, test } from 'vitest';
import { frameUrl, recordedUrl, secondsOf } from './recording';

test('a frame is requested by its exact time', () => {
  const time = 1_795_472_000.123456;

  const at = new URL(frameUrl('front door', time), 'http://hub').searchParams.get('at');

  expect(Number(at)).toBe(time);
  expect(frameUrl('front door', time)).toContain('/api/cameras/front%20door/recordings/frame?');
});

test('a range has a URL for each file format', () => {
  expect(recordedUrl('front', { since: 10, until: 20 }, 'avi')).toBe(
    '/api/cameras/front/recordings/export?since=10&until=20&format=avi'
  );
});

test('a timestamp is read as seconds or as a date', () => {
  expect(secondsOf('1795472000.5')).toBe(1_795_472_000.5);
  expect(secondsOf('2026-11-23T22:13:20Z')).toBe(Date.UTC(2026, 10, 23, 22, 13, 20) / 1000);
  expect([secondsOf(null), secondsOf(''), secondsOf('yesterday')]).toEqual([null, null, null]);
});
