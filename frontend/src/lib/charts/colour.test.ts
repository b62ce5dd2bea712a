import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { CHANNEL_COLOURS, colourOf } from './colour';

type Rgb = [number, number, number];
type Matrix = readonly (readonly number[])[];

/** Full colour vision, and the matrices for missing red and green cones of Machado et al. 2009, in linear RGB. */
const VISIONS: Readonly<Record<string, Matrix>> = {
  full: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1]
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998]
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881]
  ]
};

const css = readFileSync('src/app.css', 'utf8');
const darkStart = css.indexOf('prefers-color-scheme: dark');
const SCHEMES = { light: css.slice(0, darkStart), dark: css.slice(darkStart) };

function property(scheme: keyof typeof SCHEMES, name: string): Rgb {
  const hex = new RegExp(`${name}: #([0-9a-f]{6});`).exec(SCHEMES[scheme])?.[1];
  if (!hex) throw new Error(`${scheme} has no ${name}`);
  return [0, 2, 4].map((at) => {
    const share = parseInt(hex.slice(at, at + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as Rgb;
}

const times = (matrix: Matrix, [r, g, b]: Rgb): Rgb =>
  matrix.map(([x = 0, y = 0, z = 0]) => Math.min(1, Math.max(0, x * r + y * g + z * b))) as Rgb;

/** Oklab: equal distances look equally different. */
function oklab(colour: Rgb): Rgb {
  const lms = times(
    [
      [0.4122214708, 0.5363325363, 0.0514459929],
      [0.2119034982, 0.6806995451, 0.1073969566],
      [0.0883024619, 0.2817188376, 0.6299787005]
    ],
    colour
  ).map(Math.cbrt) as Rgb;
  const [l, m, s] = lms;
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s
  ];
}

const distance = (a: Rgb, b: Rgb) => Math.hypot(...a.map((value, at) => value - (b[at] ?? 0)));
const luminance = ([r, g, b]: Rgb) => 0.2126 * r + 0.7152 * g + 0.0722 * b;

describe.each(['light', 'dark'] as const)('the colours of channels in the %s scheme', (scheme) => {
  const colours = Array.from({ length: CHANNEL_COLOURS }, (_, place) => property(scheme, colourOf('any', place)));

  test('have the contrast of graphics to the surface (WCAG 1.4.11)', () => {
    const surface = luminance(property(scheme, '--surface'));

    for (const colour of colours) {
      const [low, high] = [surface, luminance(colour)].sort((a, b) => a - b) as [number, number];
      expect((high + 0.05) / (low + 0.05)).toBeGreaterThanOrEqual(3);
    }
  });

  test.each(Object.entries(VISIONS))('can be distinguished with %s vision', (_, matrix) => {
    const seen = colours.map((colour) => oklab(times(matrix, colour)));

    seen.forEach((one, at) =>
      seen.slice(0, at).forEach((other) => {
        expect(distance(one, other)).toBeGreaterThan(0.08);
      })
    );
  });
});

test('the only series of a type has the colour of its quantity', () => {
  expect(colourOf('temperature')).toBe('--coral');
  expect(colourOf('temperature', 0)).toBe('--channel-1');
  expect(colourOf('temperature', CHANNEL_COLOURS)).toBe('--channel-1');
});
