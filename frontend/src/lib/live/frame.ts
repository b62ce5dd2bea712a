/** The binary messages of the live connection (docs/ref/live.md): each is one frame of one camera. */

const KIND_FRAME = 1;
const NO_SIGNAL = 1;
const HEAD_BYTES = 32;

export interface Frame {
  moduleId: string;
  /** Increases by one with each frame that the hub received of this camera. */
  seq: number;
  /** Drawn by the hub because the camera sends nothing. */
  noSignal: boolean;
  /** Unix seconds by the hub's clock. */
  capturedAt: number;
  receivedAt: number;
  /** A whole JPEG file; a view into the message, not a copy. */
  jpeg: Uint8Array<ArrayBuffer>;
}

const text = new TextDecoder('utf-8', { fatal: true });

/** Reads one message; `null` for an unknown kind and for a malformed message. */
export function readFrame(message: ArrayBuffer): Frame | null {
  if (message.byteLength < HEAD_BYTES) return null;
  const head = new DataView(message, 0, HEAD_BYTES);
  if (head.getUint8(0) !== KIND_FRAME) return null;
  const jpegAt = HEAD_BYTES + head.getUint16(2);
  const seq = Number(head.getBigUint64(8));
  const capturedAt = head.getFloat64(16);
  const receivedAt = head.getFloat64(24);
  if (jpegAt === HEAD_BYTES || jpegAt >= message.byteLength) return null;
  // A JavaScript number could not be sent back unchanged.
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
