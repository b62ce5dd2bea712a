/** The binary messages of the live connection (docs/ref/live.md): one picture of one camera each. */

const KIND_FRAME = 1;
const NO_SIGNAL = 1;
const HEAD_BYTES = 32;

export interface Frame {
  moduleId: string;
  /** Rises by one with each frame the hub took of this camera. */
  seq: number;
  /** Drawn by the hub because nothing comes from the camera. */
  noSignal: boolean;
  /** Unix seconds by the hub's clock. */
  capturedAt: number;
  receivedAt: number;
  /** A whole JPEG file; a view into the message, not a copy. */
  jpeg: Uint8Array<ArrayBuffer>;
}

const text = new TextDecoder('utf-8', { fatal: true });

/** Reads one message; `null` for a kind we do not know, and for what is no message at all. */
export function readFrame(message: ArrayBuffer): Frame | null {
  if (message.byteLength < HEAD_BYTES) return null;
  const head = new DataView(message, 0, HEAD_BYTES);
  if (head.getUint8(0) !== KIND_FRAME) return null;
  const jpegAt = HEAD_BYTES + head.getUint16(2);
  const seq = Number(head.getBigUint64(8));
  const capturedAt = head.getFloat64(16);
  const receivedAt = head.getFloat64(24);
  if (jpegAt === HEAD_BYTES || jpegAt >= message.byteLength) return null;
  // Past that a number of JavaScript could not be sent back as it came.
  if (!Number.isSafeInteger(seq) || !Number.isFinite(capturedAt) || !Number.isFinite(receivedAt)) return null;
  const moduleId = decoded(new Uint8Array(message, HEAD_BYTES, jpegAt - HEAD_BYTES));
  if (moduleId === null) return null;
  const noSignal = (head.getUint8(1) & NO_SIGNAL) !== 0;
  return { moduleId, seq, noSignal, capturedAt, receivedAt, jpeg: new Uint8Array(message, jpegAt) };
}

function decoded(bytes: Uint8Array): string | null {
  try {
    return text.decode(bytes);
  } catch {
    return null;
  }
}
