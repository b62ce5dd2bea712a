import { type Frame, readFrame } from './frame';
import type { Shown, Watch } from './protocol';

/** The most cameras the hub lets one connection watch. */
export const MAX_WATCHED = 64;

/** Somebody who wants to see a camera. */
export interface FrameSubscriber {
  moduleId: string;
  /** Frames a second are enough; `null`: every one. */
  maxFps: number | null;
  take: (frame: Frame) => void;
}

type SendMessage = (message: Watch | Shown) => void;

/**
 * The pictures of any number of cameras over the one live connection.
 *
 * The hub sends a camera's newest frame and nothing more before it is told that the one before was painted; so nothing
 * queues up here or on the way, and what is not watched is not sent.
 */
export class FrameSubscriptions {
  /** Whether the hub sends pictures on this connection; `null` while that is not known. */
  supported = $state<boolean | null>(null);

  readonly #subscribers = new Set<FrameSubscriber>();
  #send: SendMessage | null = null;
  #sentList = '[]';
  #sendScheduled = false;

  /** Whether pictures are expected on this connection. */
  get expectsFrames(): boolean {
    return this.#send !== null && this.#subscribers.size > 0;
  }

  /** Watches until the returned function is called. */
  subscribe(subscriber: FrameSubscriber): () => void {
    this.#subscribers.add(subscriber);
    this.#scheduleSend();
    return () => {
      this.#subscribers.delete(subscriber);
      this.#scheduleSend();
    };
  }

  /** A connection to a hub that knows pictures: from now on `send` reaches it, and it knows of no subscriber yet. */
  attach(send: SendMessage): void {
    this.supported = true;
    this.#send = send;
    this.#sentList = '[]';
    this.#sendList();
  }

  /** The connection ended. Whether the next hub knows pictures is to be seen. */
  detach(): void {
    this.supported = null;
    this.#send = null;
  }

  /** The hub is one that does not know them. */
  markUnsupported(): void {
    this.supported = false;
    this.#send = null;
  }

  /** A binary message has come. */
  take(message: ArrayBuffer): void {
    const frame = readFrame(message);
    if (!frame) return;
    for (const subscriber of [...this.#subscribers]) if (subscriber.moduleId === frame.moduleId) subscriber.take(frame);
  }

  /** Tells the hub that this frame was painted, so that it may send another. */
  acknowledge({ moduleId, seq }: Frame): void {
    this.#send?.({ type: 'shown', module_id: moduleId, seq });
  }

  /** Tiles come and go together: many changes are one message. */
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
    const told = JSON.stringify(cameras);
    if (told === this.#sentList) return;
    this.#sentList = told;
    this.#send({ type: 'watch', cameras });
  }
}

/** One entry a camera, at the rate of whoever wants the most. */
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

/** How many frames a second a tile of that width (CSS pixels) is worth; in the full view every frame is. */
export function maxFpsOf(width: number): number {
  if (width < 260) return 5;
  return width < 520 ? 10 : 15;
}
