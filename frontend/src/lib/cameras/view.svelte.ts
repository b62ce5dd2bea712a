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
  /** Every frame, however small the picture. */
  full: () => boolean;
}

/** One camera as it is seen on this page: whether it is, what was painted, and what is to be said about it. */
export class CameraView {
  readonly visibility = new Visibility();
  renderer = $state.raw<FrameRenderer | null>(null);
  /** The picture of a hub without pictures on the live connection broke off. */
  broken = $state(false);

  readonly #options: Options;
  readonly #maxFps: number | null = $derived.by(() => (this.#options.full() ? null : maxFpsOf(this.visibility.width)));
  readonly info: CameraInfo | null = $derived.by(() => this.#live.cameras.get(this.#options.moduleId()) ?? null);

  /** The picture is older than those of this camera usually get: its age in whole seconds, by our own clock. */
  readonly staleSecs: number | null = $derived.by(() => {
    if (!this.streamed) return this.renderer?.staleSecs ?? null;
    return this.info && streamedAge(this.info, this.#options.clock.now);
  });

  readonly condition: Condition = $derived.by(() => {
    const { live, clock } = this.#options;
    const painted = this.renderer?.painted ? this.renderer.noSignal : null;
    // A stream shows what there is without saying what it is.
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

  /** The hub sends no pictures over the live connection. */
  get streamed(): boolean {
    return this.#live.frames.supported === false;
  }

  /** For `{@attach}` of the canvas: paints there as long as it is on the page. */
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

  /** Whether the pictures of the camera are requested for this page now. */
  get watching(): boolean {
    if (!this.visibility.visible || this.visibility.width === 0 || this.#live.state !== 'live') return false;
    return this.streamed ? this.info !== null : this.renderer !== null;
  }

  /** Whether a picture was painted. */
  get painted(): boolean {
    return this.renderer?.painted ?? false;
  }

  /** The viewers of the camera; the hub may not have formatCount this page yet. */
  get viewers(): number {
    return Math.max(this.info?.viewers ?? 0, this.watching ? 1 : 0);
  }

  /** For an `$effect`: watches while the picture is seen. */
  watch(): (() => void) | undefined {
    const renderer = this.renderer;
    if (!renderer || !this.visibility.visible || this.visibility.width === 0) return undefined;
    const moduleId = this.#options.moduleId();
    return this.#live.frames.subscribe({ moduleId, maxFps: this.#maxFps, take: (frame) => renderer.take(frame) });
  }
}
