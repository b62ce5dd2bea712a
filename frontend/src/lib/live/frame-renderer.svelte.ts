import { isStale } from './staleness';
import { FrameStats, type Percentiles } from './frame-stats';
import type { Frame } from './frame';
import { decodeUpright } from './orientation';

/** So often at most the figures change: a number that changes with every frame cannot be read. */
const STATS_MS = 500;

/** What a renderer needs of the browser; tests bring their own. */
export interface CanvasTarget<Picture> {
  decode: (jpeg: Uint8Array<ArrayBuffer>) => Promise<Picture>;
  /** Shows the picture and lets go of it. */
  draw: (picture: Picture) => void;
  discard: (picture: Picture) => void;
  /** Width by height of the picture as it is seen. */
  aspectOf?: (picture: Picture) => number;
  /** Resolves when the browser is about to compose what was drawn. */
  nextPaint: () => Promise<void>;
}

interface Options<Picture> {
  target: CanvasTarget<Picture>;
  /** The frame was painted or cannot be, and with it those before: another one may come. */
  onDone: (frame: Frame) => void;
  /** The hub's time in Unix seconds, or `null` while the clocks are not compared. */
  hubNow: () => number | null;
  /** Seconds between two pictures of the camera, as far as the hub knows, or `null`. */
  intervalSecs?: () => number | null;
}

/** Between two pictures, where nothing is known of their rate: pictures that are old after two seconds. */
const FAST_SECS = 0.1;

/**
 * Paints the frames of one camera as they come: decoded off the main thread, one at a time, and while one is being
 * decoded only the newest waits.
 */
export class FrameRenderer<Picture = ImageBitmap> {
  /** Whether anything was painted yet. */
  painted = $state(false);
  /** The picture is the hub's own: the camera delivers nothing. */
  noSignal = $state(false);
  /** From capture to pixel. */
  latency = $state.raw<Percentiles | null>(null);
  /** FrameStats frames a second. */
  fps = $state(0);
  /** The picture is older than those of its camera usually get: its age in whole seconds; `null` while it is not. */
  staleSecs = $state<number | null>(null);
  /** Width by height of what is shown, as it is seen: a camera on its side has another than its JPEG files. */
  aspect = $state<number | null>(null);
  /** When the newest was captured, by the hub's clock; of the hub's own pictures none. */
  capturedAt = $state<number | null>(null);

  readonly #options: Options<Picture>;
  readonly #stats = new FrameStats();
  /** When what is shown was captured, in Unix seconds by our own clock; when it was painted, where that is not known. */
  #capturedAtLocal: number | null = null;
  #waiting: Frame | null = null;
  #busy = false;
  #stopped = false;
  #interval: ReturnType<typeof setInterval> | undefined;

  constructor(options: Options<Picture>) {
    this.#options = options;
  }

  /** Keeps the figures true while nothing comes; ends with the returned function, and so does painting. */
  start(): () => void {
    this.#stopped = false;
    this.#interval = setInterval(() => this.#publishStats(), STATS_MS);
    return () => {
      clearInterval(this.#interval);
      this.#stopped = true;
      this.#waiting = null;
    };
  }

  take(frame: Frame): void {
    if (this.#stopped) return;
    this.#waiting = frame;
    if (!this.#busy) void this.#work();
  }

  async #work(): Promise<void> {
    this.#busy = true;
    for (let frame = this.#next(); frame; frame = this.#next()) await this.#paint(frame);
    this.#busy = false;
  }

  #next(): Frame | null {
    const frame = this.#waiting;
    this.#waiting = null;
    return frame;
  }

  async #paint(frame: Frame): Promise<void> {
    const { target, onDone, hubNow } = this.#options;
    let picture: Picture;
    try {
      picture = await target.decode(frame.jpeg);
    } catch {
      // A JPEG the browser cannot read: the last good one stays, and the next may come.
      onDone(frame);
      return;
    }
    if (this.#stopped) return target.discard(picture);
    this.aspect = target.aspectOf?.(picture) ?? null;
    target.draw(picture);
    await target.nextPaint();
    const now = hubNow();
    const paintedAt = Date.now() / 1000;
    // How old the hub's own picture is says nothing about the camera.
    const latency = frame.noSignal || now === null ? null : now - frame.capturedAt;
    this.#stats.add(paintedAt, latency);
    this.#capturedAtLocal = paintedAt - Math.max(0, latency ?? 0);
    const stateChanged = !this.painted || this.noSignal !== frame.noSignal || this.staleSecs !== null;
    this.painted = true;
    this.noSignal = frame.noSignal;
    if (!frame.noSignal) this.capturedAt = frame.capturedAt;
    if (stateChanged) this.#publishStats();
    onDone(frame);
  }

  #publishStats(): void {
    const latency = this.#stats.latency(Date.now() / 1000);
    if (latency?.p50 !== this.latency?.p50 || latency?.p99 !== this.latency?.p99) this.latency = latency;
    const now = Date.now() / 1000;
    this.fps = this.#stats.fps(now);
    const age = this.#capturedAtLocal === null ? 0 : now - this.#capturedAtLocal;
    const interval = this.#stats.intervalSecs ?? this.#options.intervalSecs?.() ?? FAST_SECS;
    this.staleSecs = isStale(age, interval) ? Math.floor(age) : null;
  }
}

/** Paints into that canvas. */
export function canvasTarget(canvas: HTMLCanvasElement): CanvasTarget<ImageBitmap> {
  // It takes the decoded picture as it is: no copy.
  const context = canvas.getContext('bitmaprenderer');
  return {
    decode: decodeUpright,
    draw: (picture) => {
      // The canvas keeps its own size and would stretch the picture into it.
      if (canvas.width !== picture.width) canvas.width = picture.width;
      if (canvas.height !== picture.height) canvas.height = picture.height;
      context?.transferFromImageBitmap(picture);
    },
    discard: (picture) => picture.close(),
    aspectOf: ({ width, height }) => width / height,
    nextPaint: () => new Promise((resolve) => requestAnimationFrame(() => resolve()))
  };
}
