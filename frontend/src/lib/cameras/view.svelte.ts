import type { CameraInfo } from '../api/types';
import type { Clock } from '../live/clock.svelte';
import type { Live } from '../live/live.svelte';
import { canvasTarget, FrameRenderer } from '../live/frame-renderer.svelte';
import { maxFpsOf } from '../live/frame-subscriptions.svelte';
import { type Condition, conditionOf, delivers, streamedAge } from './condition';
import { Visibility } from '../ui/visibility.svelte';

interface Options {
  live: Live;
  clock: Clock;
  moduleId: () => string;
  /** Requests every frame, however small the view is. */
  full: () => boolean;
}

/** One view of a camera on this page: its visibility, its renderer and its condition. */
export class CameraView {
  readonly visibility = new Visibility();
  renderer = $state.raw<FrameRenderer | null>(null);
  /** The MJPEG stream broke off. */
  broken = $state(false);

  readonly #options: Options;
  readonly #maxFps: number | null = $derived.by(() => (this.#options.full() ? null : maxFpsOf(this.visibility.width)));
  readonly info: CameraInfo | null = $derived.by(() => this.#live.cameras.get(this.#options.moduleId()) ?? null);

  /**
   * The age of the frame in whole seconds, by the clock of the browser; `null` while it is not older than
   * usual.
   */
  readonly staleSecs: number | null = $derived.by(() => {
    if (!this.streamed) return this.renderer?.staleSecs ?? null;
    return this.info && streamedAge(this.info, this.#options.clock.now);
  });

  readonly condition: Condition = $derived.by(() => {
    const { live, clock } = this.#options;
    const painted = this.renderer?.painted ? this.renderer.noSignal : null;
    // A stream does not say which of its frames are the hub's own.
    const noSignal = this.streamed ? (this.info && !this.broken ? !delivers(this.info, clock.now) : null) : painted;
    const connected = live.state === 'live' || live.state === 'unresponsive';
    return conditionOf({ info: this.info, connected, noSignal, staleSecs: this.staleSecs, now: clock.now });
  });

  constructor(options: Options) {
    this.#options = options;
  }

  get #live(): Live {
    return this.#options.live;
  }

  /** The hub sends no frames over the live connection. */
  get streamed(): boolean {
    return this.#live.frames.supported === false;
  }

  /** For `{@attach}` of the canvas: paints into it while it is on the page. */
  readonly attachCanvas = (canvas: HTMLCanvasElement): (() => void) => {
    const live = this.#live;
    const renderer = new FrameRenderer({
      target: canvasTarget(canvas),
      onDone: (frame) => live.frames.acknowledge(frame),
      intervalSecs: () => (this.info && this.info.fps > 0 ? 1 / this.info.fps : null),
      hubNow: () => (live.skewErrorSecs === null ? null : Date.now() / 1000 + live.skewSecs)
    });
    this.renderer = renderer;
    const stop = renderer.start();
    return () => {
      stop();
      this.renderer = null;
    };
  };

  /** Whether this page requests frames of the camera now. */
  get watching(): boolean {
    if (!this.visibility.visible || this.visibility.width === 0 || this.#live.state !== 'live') return false;
    return this.streamed ? this.info !== null : this.renderer !== null;
  }

  /** Whether a frame was painted. */
  get painted(): boolean {
    return this.renderer?.painted ?? false;
  }

  /** The viewers of the camera; the hub may not have counted this page yet. */
  get viewers(): number {
    return Math.max(this.info?.viewers ?? 0, this.watching ? 1 : 0);
  }

  /** For an `$effect`: subscribes to frames while the view is visible. */
  watch(): (() => void) | undefined {
    const renderer = this.renderer;
    if (!renderer || !this.visibility.visible || this.visibility.width === 0) return undefined;
    const moduleId = this.#options.moduleId();
    return this.#live.frames.subscribe({ moduleId, maxFps: this.#maxFps, take: (frame) => renderer.take(frame) });
  }
}
