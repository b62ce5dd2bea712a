/**
 * The orientation of a camera, from the Exif segment of a JPEG (CIPA DC-008, tag 0x0112).
 *
 * Browsers rotate such an image in an `<img>`. They do not agree about a decoded `ImageBitmap`: Chromium
 * gives it the size of the rotated image and hands its unrotated pixels to a `bitmaprenderer`. So the decoder
 * gets a JPEG without an orientation, and the image is rotated here.
 */

/**
 * 1: upright. 2 to 8: mirrored and rotated, in the order of the standard; from 5 on width and height are
 * swapped.
 */
export interface Orientation {
  value: number;
  /** The offset of its two bytes in the file; `undefined` without a tag. */
  at?: number;
  littleEndian?: boolean;
}

const UPRIGHT: Orientation = { value: 1 };
const [MARKER, START_OF_IMAGE, START_OF_SCAN, APP1] = [0xff, 0xd8, 0xda, 0xe1];
const ORIENTATION_TAG = 0x0112;
const SHORT = 3;
/** `Exif`, 0, 0. */
const EXIF_BYTES = 6;

/** Reads the orientation of a JPEG file; upright without a valid tag. */
export function orientationOf(jpeg: Uint8Array): Orientation {
  const view = new DataView(jpeg.buffer, jpeg.byteOffset, jpeg.byteLength);
  if (jpeg[0] !== MARKER || jpeg[1] !== START_OF_IMAGE) return UPRIGHT;
  let at = 2;
  while (at + 4 <= jpeg.length && jpeg[at] === MARKER) {
    const marker = jpeg[at + 1];
    // A marker may have any number of fill bytes before it.
    if (marker === MARKER) {
      at += 1;
      continue;
    }
    if (marker === START_OF_SCAN) break;
    const length = view.getUint16(at + 2);
    if (marker === APP1 && isExif(jpeg, at + 4)) return inTiff(view, at + 4 + EXIF_BYTES, at + 2 + length);
    at += 2 + length;
  }
  return UPRIGHT;
}

const isExif = (jpeg: Uint8Array, at: number): boolean =>
  [0x45, 0x78, 0x69, 0x66, 0, 0].every((byte, place) => jpeg[at + place] === byte);

/** Exif contains a TIFF file, whose first directory has the tag. */
function inTiff(view: DataView, begin: number, wantedEnd: number): Orientation {
  const end = Math.min(wantedEnd, view.byteLength);
  if (begin + 8 > end) return UPRIGHT;
  const order = view.getUint16(begin);
  const littleEndian = order === 0x4949;
  if ((!littleEndian && order !== 0x4d4d) || view.getUint16(begin + 2, littleEndian) !== 42) return UPRIGHT;
  const directory = begin + view.getUint32(begin + 4, littleEndian);
  if (directory + 2 > end) return UPRIGHT;
  const count = view.getUint16(directory, littleEndian);
  for (let entry = directory + 2; entry < directory + 2 + 12 * count && entry + 12 <= end; entry += 12) {
    if (view.getUint16(entry, littleEndian) !== ORIENTATION_TAG) continue;
    const value = view.getUint16(entry + 8, littleEndian);
    const known = view.getUint16(entry + 2, littleEndian) === SHORT && value >= 1 && value <= 8;
    return known ? { value, at: entry + 8, littleEndian } : UPRIGHT;
  }
  return UPRIGHT;
}

/** The transformation of an image of that size, as `setTransform` takes it: a, b, c, d, e, f. */
export function turnOf(value: number, width: number, height: number): [number, number, number, number, number, number] {
  switch (value) {
    case 2:
      return [-1, 0, 0, 1, width, 0];
    case 3:
      return [-1, 0, 0, -1, width, height];
    case 4:
      return [1, 0, 0, -1, 0, height];
    case 5:
      return [0, 1, 1, 0, 0, 0];
    case 6:
      return [0, 1, -1, 0, height, 0];
    case 7:
      return [0, -1, -1, 0, height, width];
    case 8:
      return [0, -1, 1, 0, 0, width];
    default:
      return [1, 0, 0, 1, 0, 0];
  }
}

/** Decodes a JPEG into an upright image. */
export async function decodeUpright(jpeg: Uint8Array<ArrayBuffer>): Promise<ImageBitmap> {
  const { value, at, littleEndian } = orientationOf(jpeg);
  if (value === 1 || at === undefined) return createImageBitmap(new Blob([jpeg], { type: 'image/jpeg' }));
  const upright = new Uint8Array(littleEndian ? [1, 0] : [0, 1]);
  // The bytes are not changed in place: other views of the same camera decode them, too.
  const parts = [jpeg.subarray(0, at), upright, jpeg.subarray(at + 2)];
  const raw = await createImageBitmap(new Blob(parts, { type: 'image/jpeg' }));
  const { width, height } = raw;
  const canvas = value < 5 ? new OffscreenCanvas(width, height) : new OffscreenCanvas(height, width);
  const context = canvas.getContext('2d');
  context?.setTransform(...turnOf(value, width, height));
  context?.drawImage(raw, 0, 0);
  raw.close();
  return canvas.transferToImageBitmap();
}
