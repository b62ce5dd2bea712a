import { type Frame, readFrame } from './frame';
import type { Shown, Watch } from './protocol';

/** The hub sends the frames of at most this many cameras on one connection. */
export const MAX_WATCHED = 64;

/** One view of a camera on the page. */
export interface FrameSubscriber {
  moduleId: string;
  /** The most frames a second the view needs; `null`: every frame. */
  maxFps: number | null;
  take: (frame: Frame) => void;
}

type SendMessage = (message: Watch | Shown) => void;

/**
 * The frames of any number of cameras over the one live connection.
 *
 * The hub sends the newest frame of a camera, and the next one only after the page has acknowledged it. So no frames
 * queue up here or on the network, and the hub sends no frames of a camera without a subscriber.
 */
export class FrameSubscriptions {
  /** Whether the hub sends frames on this connection; `null` while that is not known. */
  supported = $state<boolean | null>(null);

  readonly #subscribers = new Set<FrameSubscriber>();
  #send: SendMessage | null = null;
  #sentList = '[]';
  #sendScheduled = false;

  /** Whether frames are expected on this connection. */
  get expectsFrames(): boolean {
    return this.#send !== null && this.#subscribers.size > 0;
  }

  /** Subscribes until the returned function is called. */
  subscribe(subscriber: FrameSubscriber): () => void {
    this.#subscribers.add(subscriber);
    this.#scheduleSend();
    return () => {
      this.#subscribers.delete(subscriber);
      this.#scheduleSend();
    };
  }

  /** Starts on a new connection to a hub that sends frames; that hub knows no subscriptions yet. */
  attach(send: SendMessage): void {
    this.supported = true;
    this.#send = send;
    this.#sentList = '[]';
    this.#sendList();
  }

  /** The connection has ended. Whether the next hub sends frames is not known yet. */
  detach(): void {
    this.supported = null;
    this.#send = null;
  }

  /** The hub on this connection does not send frames. */
  markUnsupported(): void {
    this.supported = false;
    this.#send = null;
  }

  /** Passes the frame of a binary message to its subscribers. */
  dispatch(message: ArrayBuffer): void {
    const frame = readFrame(message);
    if (!frame) return;
    for (const subscriber of [...this.#subscribers]) if (subscriber.moduleId === frame.moduleId) subscriber.take(frame);
  }

  /** Tells the hub that this frame was painted, so that it may send the next one. */
  acknowledge({ moduleId, seq }: Frame): void {
    this.#send?.({ type: 'shown', module_id: moduleId, seq });
  }

  /** Tiles are mounted and removed together: many changes become one message. */
  #scheduleSend(): void {
    if (this.#sendScheduled) return;
    this.#sendScheduled = true;
    queueMicrotask(() => {
      this.#sendScheduled = false;
      this.#sendList();
    });
  }

  #sendList(): void {
    if (!this.#send) return;
    const cameras = watchListOf(this.#subscribers);
    const list = JSON.stringify(cameras);
    if (list === this.#sentList) return;
    this.#sentList = list;
    this.#send({ type: 'watch', cameras });
  }
}

/** One entry for each camera, at the highest rate that a subscriber needs. */
function watchListOf(subscribers: Iterable<FrameSubscriber>): Watch['cameras'] {
  const rates = new Map<string, number | null>();
  for (const { moduleId, maxFps } of subscribers) {
    const known = rates.get(moduleId);
    rates.set(moduleId, known === null || maxFps === null ? null : Math.max(known ?? 0, maxFps));
  }
  return [...rates]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, MAX_WATCHED)
    .map(([module_id, max_fps]) => (max_fps === null ? { module_id } : { module_id, max_fps }));
}

/** The useful frame rate of a tile of that width (CSS pixels); the full view takes every frame. */
export function maxFpsOf(width: number): number {
  if (width < 260) return 5;
  return width < 520 ? 10 : 15;
}
