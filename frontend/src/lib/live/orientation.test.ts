import { describe, expect, test } from 'vitest';
import { orientationOf, turnOf } from './orientation';

const START = [0xff, 0xd8];
const SCAN = [0xff, 0xda, 0, 2, 0xff, 0xd9];
const JFIF = [0xff, 0xe0, 0, 4, 1, 1];

const u16 = (value: number, little: boolean) => (little ? [value & 255, value >> 8] : [value >> 8, value & 255]);
const u32 = (value: number, little: boolean) =>
  little
    ? [...u16(value & 0xffff, true), ...u16(value >> 16, true)]
    : [...u16(value >> 16, false), ...u16(value & 0xffff, false)];

/** An Exif segment whose directory has another entry before the orientation. */
function exif(value: number, little = false, type = 3): number[] {
  const order = little ? [0x49, 0x49] : [0x4d, 0x4d];
  const entry = (tag: number, of: number, inner: number) => [
    ...u16(tag, little),
    ...u16(of, little),
    ...u32(1, little),
    ...u16(inner, little),
    0,
    0
  ];
  const directory = [...u16(2, little), ...entry(0x0100, 3, 640), ...entry(0x0112, type, value), ...u32(0, little)];
  const body = [0x45, 0x78, 0x69, 0x66, 0, 0, ...order, ...u16(42, little), ...u32(8, little), ...directory];
  return [0xff, 0xe1, ...u16(body.length + 2, false), ...body];
}

const valueOf = (...parts: number[][]) => orientationOf(new Uint8Array(parts.flat())).value;

describe('the orientation of a JPEG', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('%d is read in either order of bytes', (value) => {
    expect(valueOf(START, exif(value), SCAN)).toBe(value);
    expect(valueOf(START, exif(value, true), SCAN)).toBe(value);
  });

  test('is found behind other segments and fill bytes', () => {
    expect(valueOf(START, JFIF, [0xff, 0xff], exif(6), SCAN)).toBe(6);
  });

  test('is found in a view at an offset of its buffer', () => {
    const file = new Uint8Array([9, 9, 9, ...START, ...exif(8), ...SCAN]);

    const { value, at } = orientationOf(file.subarray(3));

    expect(value).toBe(8);
    expect(file[3 + (at ?? NaN) + 1]).toBe(8);
  });

  test('is upright without a tag, or with an invalid one', () => {
    expect(valueOf(START, SCAN)).toBe(1);
    expect(valueOf(START, JFIF, SCAN)).toBe(1);
    expect(valueOf(START, exif(0), SCAN)).toBe(1);
    expect(valueOf(START, exif(9), SCAN)).toBe(1);
    expect(valueOf(START, exif(6, false, 4), SCAN)).toBe(1);
  });

  test('is searched in the header only', () => {
    expect(valueOf(START, SCAN.slice(0, 4), exif(6))).toBe(1);
  });

  test('of a file that is cut off anywhere is upright or right', () => {
    const file = [...START, ...JFIF, ...exif(6), ...SCAN];

    for (let length = 0; length <= file.length; length += 1) {
      expect([1, 6]).toContain(valueOf(file.slice(0, length)));
    }
  });
});

describe('a rotated image', () => {
  /** The displayed position of the pixel at (0, 0) of an image of 4 × 2 pixels: its middle. */
  const corner = (value: number) => {
    const [a, b, c, d, e, f] = turnOf(value, 4, 2);
    return [a * 0.5 + c * 0.5 + e, b * 0.5 + d * 0.5 + f];
  };

  test('has its first pixel where the standard says, within its new size', () => {
    // Row 0 and column 0 of the file are displayed as: top left, top right, bottom right, bottom left; then
    // the same, rotated.
    expect([1, 2, 3, 4].map(corner)).toEqual([
      [0.5, 0.5],
      [3.5, 0.5],
      [3.5, 1.5],
      [0.5, 1.5]
    ]);
    expect([5, 6, 7, 8].map(corner)).toEqual([
      [0.5, 0.5],
      [1.5, 0.5],
      [1.5, 3.5],
      [0.5, 3.5]
    ]);
  });
});
