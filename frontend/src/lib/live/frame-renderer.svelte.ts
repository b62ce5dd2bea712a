import { isStale } from './staleness';
import { FrameStats, type Percentiles } from './frame-stats';
import type { Frame } from './frame';
import { decodeUpright } from './orientation';

/** The statistics change at most this often: a number that changes with every frame cannot be read. */
const STATS_MS = 500;

/** The parts of a browser that a renderer needs; tests provide their own. */
export interface CanvasTarget<Image> {
  decode: (jpeg: Uint8Array<ArrayBuffer>) => Promise<Image>;
  /** Shows the image and releases it. */
  draw: (image: Image) => void;
  discard: (image: Image) => void;
  /** Width divided by height of the image as shown. */
  aspectOf?: (image: Image) => number;
  /** Resolves when the browser is about to compose the drawn image. */
  nextPaint: () => Promise<void>;
}

interface Options<Image> {
  target: CanvasTarget<Image>;
  /** The frame was painted or cannot be decoded; the hub may send the next one. */
  onDone: (frame: Frame) => void;
  /** The hub's time in Unix seconds, or `null` while the clock offset is not known. */
  hubNow: () => number | null;
  /** The camera's frame interval in seconds as the hub reports it, or `null`. */
  intervalSecs?: () => number | null;
}

/** The assumed frame interval when none is known: a frame is then stale after two seconds. */
const FAST_SECS = 0.1;

/**
 * Paints the frames of one camera. Decoding is off the main thread, one frame at a time; meanwhile only the
 * newest frame waits.
 */
export class FrameRenderer<Image = ImageBitmap> {
  /** Whether a frame was painted. */
  painted = $state(false);
  /** The frame is the hub's own: the camera sends nothing. */
  noSignal = $state(false);
  /** From capture to display. */
  latency = $state.raw<Percentiles | null>(null);
  /** Painted frames per second. */
  fps = $state(0);
  /** The age of the frame in whole seconds; `null` while it is not older than usual. */
  staleSecs = $state<number | null>(null);
  /** Width divided by height of the image as shown: that of a rotated camera differs from its JPEG files. */
  aspect = $state<number | null>(null);
  /** The capture time of the newest frame by the hub's clock; the hub's own frames have none. */
  capturedAt = $state<number | null>(null);

  readonly #options: Options<Image>;
  readonly #stats = new FrameStats();
  /**
   * The capture time of the painted frame in Unix seconds by the browser's clock; if unknown, the time of
   * painting.
   */
  #capturedAtLocal: number | null = null;
  #waiting: Frame | null = null;
  #busy = false;
  #stopped = false;
  #interval: ReturnType<typeof setInterval> | undefined;

  constructor(options: Options<Image>) {
    this.#options = options;
  }

  /** Keeps the statistics up to date without frames. The returned function ends this, and painting. */
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
    let image: Image;
    try {
      image = await target.decode(frame.jpeg);
    } catch {
      // The browser cannot decode the JPEG: the last good frame stays, and the next one may come.
      onDone(frame);
      return;
    }
    if (this.#stopped) return target.discard(image);
    this.aspect = target.aspectOf?.(image) ?? null;
    target.draw(image);
    await target.nextPaint();
    const now = hubNow();
    const paintedAt = Date.now() / 1000;
    // The age of the hub's own frame says nothing about the camera.
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
  // Takes the decoded image without a copy.
  const context = canvas.getContext('bitmaprenderer');
  return {
    decode: decodeUpright,
    draw: (image) => {
      // The canvas would stretch the image to its own size.
      if (canvas.width !== image.width) canvas.width = image.width;
      if (canvas.height !== image.height) canvas.height = image.height;
      context?.transferFromImageBitmap(image);
    },
    discard: (image) => image.close(),
    aspectOf: ({ width, height }) => width / height,
    nextPaint: () => new Promise((resolve) => requestAnimationFrame(() => resolve()))
  };
}
