import { describe, expect, test } from 'vitest';
import { readFrame } from './frame';
import { aFrameMessage } from './testing';

const JPEG = [0xff, 0xd8, 0xff, 0xd9];
const NOW = 1_795_472_000.125;

const changed = (change: (head: DataView) => void): ArrayBuffer => {
  const message = aFrameMessage();
  change(new DataView(message));
  return message;
};

describe('a binary message', () => {
  test('is a frame with its camera, number, times and JPEG', () => {
    const message = aFrameMessage({ moduleId: 'front', seq: 17, capturedAt: NOW, receivedAt: NOW + 0.01 });

    const frame = readFrame(message);

    expect(frame).toMatchObject({ moduleId: 'front', seq: 17, noSignal: false });
    expect(frame?.capturedAt).toBe(NOW);
    expect(frame?.receivedAt).toBe(NOW + 0.01);
    expect([...(frame?.jpeg ?? [])]).toEqual(JPEG);
  });

  test('tells frames drawn by the hub, whatever its other flags are', () => {
    expect(readFrame(aFrameMessage({ flags: 1 }))?.noSignal).toBe(true);
    expect(readFrame(aFrameMessage({ flags: 0b1111_1110 }))?.noSignal).toBe(false);
  });

  test('has an id of its camera in UTF-8, of any length', () => {
    const name = 'ü'.repeat(300);

    expect(readFrame(aFrameMessage({ moduleId: name }))?.moduleId).toBe(name);
  });

  test('shares its bytes with the JPEG: nothing is copied', () => {
    const message = aFrameMessage();

    expect(readFrame(message)?.jpeg.buffer).toBe(message);
  });
});

describe('a malformed message is rejected:', () => {
  test('cut off anywhere before its JPEG', () => {
    const message = aFrameMessage({ moduleId: 'front' });
    const headAndName = message.byteLength - JPEG.length;

    for (let length = 0; length <= headAndName; length += 1) expect(readFrame(message.slice(0, length))).toBeNull();
  });

  test('an unknown kind', () => {
    expect(readFrame(changed((head) => head.setUint8(0, 2)))).toBeNull();
  });

  test('an id that is empty, or longer than the message', () => {
    expect(readFrame(changed((head) => head.setUint16(2, 0)))).toBeNull();
    expect(readFrame(changed((head) => head.setUint16(2, 65_535)))).toBeNull();
  });

  test('an id that is not UTF-8', () => {
    expect(readFrame(changed((head) => head.setUint8(32, 0xff)))).toBeNull();
  });

  test('a frame number that cannot be sent back', () => {
    expect(readFrame(changed((head) => head.setBigUint64(8, 2n ** 60n)))).toBeNull();
  });

  test('a time that is not finite', () => {
    expect(readFrame(changed((head) => head.setFloat64(16, NaN)))).toBeNull();
    expect(readFrame(changed((head) => head.setFloat64(24, Infinity)))).toBeNull();
  });
});
