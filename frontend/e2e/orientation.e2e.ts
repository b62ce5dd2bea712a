/** Frames of rotated and mirrored cameras: each is shown like an `<img>` of the same file. */
import type { Locator } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { page, system, useDashboard } from './support/dashboard.ts';

const ORIENTATIONS = [1, 2, 3, 4, 5, 6, 7, 8];
/** Often enough that the hub does not consider a camera lost. */
const POST_MS = 500;

const idOf = (orientation: number) => `turned-${orientation}`;

/** An Exif segment with the orientation and nothing else. */
function withOrientation(jpeg: Buffer, orientation: number, littleEndian: boolean): Buffer {
  const tiff = Buffer.alloc(26);
  const [u16, u32] = littleEndian
    ? [tiff.writeUInt16LE.bind(tiff), tiff.writeUInt32LE.bind(tiff)]
    : [tiff.writeUInt16BE.bind(tiff), tiff.writeUInt32BE.bind(tiff)];
  tiff.write(littleEndian ? 'II' : 'MM');
  u16(42, 2);
  u32(8, 4);
  u16(1, 8);
  u16(0x0112, 10);
  u16(3, 12);
  u32(1, 14);
  u16(orientation, 18);
  const head = Buffer.from([0xff, 0xe1, 0, 2 + 6 + tiff.length]);
  return Buffer.concat([jpeg.subarray(0, 2), head, Buffer.from('Exif\0\0'), tiff, jpeg.subarray(2)]);
}

let posting: ReturnType<typeof setInterval> | undefined;
let files: Map<number, Buffer>;

/** An image of four colours, 192 × 96 pixels, which every rotation and mirroring changes. */
async function fourColours(): Promise<Buffer> {
  const bytes = await page.evaluate(async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 192, height: 96 });
    const context = canvas.getContext('2d') as CanvasRenderingContext2D;
    ['#e00000', '#00c000', '#0000e0', '#e0e000'].forEach((colour, at) => {
      context.fillStyle = colour;
      context.fillRect((at % 2) * 96, Math.floor(at / 2) * 48, 96, 48);
    });
    const blob = await new Promise<Blob>((resolve) => canvas.toBlob((made) => resolve(made as Blob), 'image/jpeg', 1));
    return [...new Uint8Array(await blob.arrayBuffer())];
  });
  return Buffer.from(bytes);
}

async function post(moduleId: string, jpeg: Buffer): Promise<void> {
  const response = await fetch(`${system.url}/api/camera/frame?module_id=${moduleId}`, {
    method: 'POST',
    headers: { 'content-type': 'image/jpeg' },
    body: new Uint8Array(jpeg)
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
}

interface Appearance {
  /** The nearest colour in the middle of each quarter: top left, top right, bottom left, bottom right. */
  colours: string[];
  /** Width divided by height of the coloured area. */
  aspect: number;
}

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** The colours within the area of each box that is not black; without boxes, those of the whole image. */
function appearanceIn(image: Buffer, type: string, parts: (Box | null)[] = [null]): Promise<Appearance[]> {
  return page.evaluate(
    async ([base64, of, boxes]) => {
      const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
      const url = URL.createObjectURL(new Blob([bytes], { type: of }));
      const element = new Image();
      element.src = url;
      await element.decode();
      URL.revokeObjectURL(url);

      function appearanceOf(box: Box): Appearance {
        const [width, height] = [Math.floor(box.width), Math.floor(box.height)];
        const canvas = Object.assign(document.createElement('canvas'), { width, height });
        const context = canvas.getContext('2d') as CanvasRenderingContext2D;
        context.drawImage(element, -box.x, -box.y);
        const { data } = context.getImageData(0, 0, width, height);
        const channels = (x: number, y: number) =>
          [0, 1, 2].map((at) => data[4 * (Math.floor(y) * width + Math.floor(x)) + at] ?? 0);
        const bright = (x: number, y: number) => Math.max(...channels(x, y)) > 120;
        // A frame is in the middle of its element. To the right and down from there no badge covers it.
        let [right, bottom] = [Math.round(width * 0.55), Math.round(height * 0.55)];
        while (right < width && bright(right, height * 0.55)) right += 1;
        while (bottom < height && bright(width * 0.55, bottom)) bottom += 1;
        const [left, top] = [width - right, height - bottom];
        const colourAt = (u: number, v: number) => {
          const [red, green, blue] = channels(left + u * (right - left), top + v * (bottom - top)).map(
            (one) => one > 110
          );
          return red && green ? 'yellow' : red ? 'red' : green ? 'green' : blue ? 'blue' : 'black';
        };
        return {
          colours: [colourAt(0.3, 0.3), colourAt(0.7, 0.3), colourAt(0.3, 0.7), colourAt(0.7, 0.7)],
          aspect: (right - left) / (bottom - top)
        };
      }

      const whole = { x: 0, y: 0, width: element.naturalWidth, height: element.naturalHeight };
      return boxes.map((box) => appearanceOf(box ?? whole));
    },
    [image.toString('base64'), type, parts] as const
  );
}

// The mock accepts no frames.
describe.skipIf(process.env.IOTPI_DEMO === 'mock')('a frame with an orientation', () => {
  useDashboard({ viewport: { width: 1400, height: 1000 } });

  beforeAll(async () => {
    const upright = await fourColours();
    files = new Map(ORIENTATIONS.map((one) => [one, withOrientation(upright, one, one % 2 === 0)]));
    const postAll = () => Promise.all([...files].map(([one, jpeg]) => post(idOf(one), jpeg)));
    await postAll();
    posting = setInterval(() => void postAll().catch(() => {}), POST_MS);
  });

  afterAll(() => clearInterval(posting));

  const fileOf = (orientation: number) => files.get(orientation) as Buffer;
  const live = (orientation: number) => page.getByRole('img', { name: `Live view of ${idOf(orientation)}` });

  const expectedAppearance = async (orientation: number) =>
    (await appearanceIn(fileOf(orientation), 'image/jpeg'))[0] as Appearance;

  /** The pixels on the screen equal those of `<img>` elements, and have the same proportions. */
  async function expectAppearance(views: readonly Locator[], orientations: readonly number[]): Promise<void> {
    const wanted = await Promise.all(orientations.map(expectedAppearance));
    await expect
      .poll(async () => {
        const screen = await page.screenshot();
        const boxes = await Promise.all(views.map((picture) => picture.boundingBox()));
        const appearances = await appearanceIn(screen, 'image/png', boxes);
        // Whole pixels of a small image are off by some per cent; a distorted one is by a factor of four.
        return appearances.map(({ colours, aspect }, at) => ({
          colours,
          undistorted: Math.abs(aspect / (wanted[at] as Appearance).aspect - 1) < 0.06
        }));
      })
      .toEqual(wanted.map(({ colours }) => ({ colours, undistorted: true })));
  }

  test('differs for each orientation, as an <img> shows it', async () => {
    const all = await Promise.all(ORIENTATIONS.map(expectedAppearance));

    expect(new Set(all.map(({ colours }) => colours.join())).size).toBe(ORIENTATIONS.length);
    expect(all.map(({ aspect }) => aspect > 1)).toEqual(ORIENTATIONS.map((one) => one < 5));
  });

  test.each([6, 3])('%d is rotated and undistorted on the dashboard', async (orientation) => {
    // A frame outside the screen is not painted.
    await page.locator(`[data-widget=camera][data-module=${idOf(orientation)}]`).scrollIntoViewIfNeeded();
    await live(orientation).scrollIntoViewIfNeeded();

    await expectAppearance([live(orientation)], [orientation]);
  });

  test('is rotated and undistorted on the wall, for each orientation', async () => {
    await page.locator('nav').getByRole('link', { name: 'Cameras', exact: true }).click();
    await page.locator('[data-columns]').waitFor();
    for (const orientation of ORIENTATIONS) await live(orientation).waitFor();

    await expectAppearance(ORIENTATIONS.map(live), ORIENTATIONS);
  });

  describe.each([6, 3])('%d', (orientation) => {
    test('is rotated and undistorted in the full view', async () => {
      await page.goto(`${system.url}/cameras?id=${idOf(orientation)}`);
      await live(orientation).waitFor();

      await expectAppearance([live(orientation)], [orientation]);
      const box = await live(orientation).boundingBox();
      const { aspect } = await expectedAppearance(orientation);
      // The stage has the shape of the frame, so there are no bars.
      expect(Math.abs((box?.width ?? 0) / (box?.height ?? 1) / aspect - 1)).toBeLessThan(0.06);
    });

    test('is rotated and undistorted in the player', async () => {
      await page.getByRole('button', { name: 'Record now' }).click();
      const timeline = page.getByRole('slider', { name: 'Position in the recording' });
      await expect.poll(async () => Number(await timeline.getAttribute('data-bands'))).toBeGreaterThanOrEqual(1);
      await timeline.focus();
      await page.keyboard.press('End');
      const recorded = page.getByRole('img', { name: `Recorded frame of ${idOf(orientation)}` });
      await expect.poll(() => recorded.getAttribute('data-shown')).toMatch(/^\d+/);
      await page.evaluate(() => scrollTo(0, 0));

      await expectAppearance([recorded], [orientation]);
    });
  });
});
