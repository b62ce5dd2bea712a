/** The frames of the mock hub on the live connection (docs/ref/live.md). */
import type { ClientMessage } from '../src/lib/live/protocol';

const FRAME_MS = 1000 / 12;
const NO_SIGNAL_MS = 1000;
/** The most unacknowledged frames of a camera. */
const MAX_IN_FLIGHT = 2;
/** The simulated delay from the camera to the hub. */
const TO_HUB_SECS = 0.012;

export interface Jpegs {
  frames: readonly Buffer[];
  /** The hub's frame for a lost camera. */
  noSignal: Buffer;
}

/** The number of the camera's newest frame, which also selects the JPEG. */
const newest = (): number => Math.floor(Date.now() / FRAME_MS);

export function frameNow({ frames }: Jpegs): Buffer {
  return frames[newest() % frames.length] as Buffer;
}

/** The frame nearest to that time; recorded frames look like live ones. */
export function frameAt({ frames }: Jpegs, unixSecs: number): Buffer {
  return frames[Math.abs(Math.floor((unixSecs * 1000) / FRAME_MS)) % frames.length] as Buffer;
}

interface Sent {
  seq: number;
  at: number;
  inFlight: Set<number>;
}

/** The cameras that one client watches. */
export class MockFrames {
  readonly #jpegs: Jpegs;
  readonly #send: (message: Uint8Array) => void;
  readonly #isLost: (moduleId: string) => boolean;
  readonly #sent = new Map<string, Sent & { everyMs: number }>();
  readonly #interval = setInterval(() => this.#turn(), FRAME_MS / 2);

  constructor(jpegs: Jpegs, isLost: (moduleId: string) => boolean, send: (message: Uint8Array) => void) {
    this.#jpegs = jpegs;
    this.#isLost = isLost;
    this.#send = send;
  }

  take(message: ClientMessage): void {
    if (message.type === 'shown') this.#sent.get(message.module_id)?.inFlight.delete(message.seq);
    if (message.type !== 'watch') return;
    const before = new Map(this.#sent);
    this.#sent.clear();
    for (const { module_id, max_fps } of message.cameras) {
      const known = before.get(module_id) ?? { seq: 0, at: 0, inFlight: new Set() };
      this.#sent.set(module_id, { ...known, everyMs: 1000 / (max_fps ?? 60) });
    }
  }

  end(): void {
    clearInterval(this.#interval);
  }

  #turn(): void {
    const now = Date.now();
    for (const [moduleId, camera] of this.#sent) {
      const lost = this.#isLost(moduleId);
      const seq = newest();
      const due = now - camera.at >= Math.max(camera.everyMs - 5, lost ? NO_SIGNAL_MS : 0);
      if (!due || seq === camera.seq || camera.inFlight.size >= MAX_IN_FLIGHT) continue;
      camera.seq = seq;
      camera.at = now;
      camera.inFlight.add(seq);
      this.#send(encoded(moduleId, seq, lost, now / 1000, lost ? this.#jpegs.noSignal : frameNow(this.#jpegs)));
    }
  }
}

function encoded(moduleId: string, seq: number, lost: boolean, now: number, jpeg: Buffer): Buffer {
  const name = Buffer.from(moduleId);
  const head = Buffer.alloc(32);
  head.writeUInt8(1, 0);
  head.writeUInt8(lost ? 1 : 0, 1);
  head.writeUInt16BE(name.length, 2);
  head.writeBigUInt64BE(BigInt(seq), 8);
  head.writeDoubleBE(now - TO_HUB_SECS, 16);
  head.writeDoubleBE(now, 24);
  return Buffer.concat([head, name, jpeg]);
}
