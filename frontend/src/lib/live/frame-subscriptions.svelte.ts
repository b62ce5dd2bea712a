import { type Frame, readFrame } from './frame';
import type { Shown, Watch } from './protocol';

/** The most cameras the hub lets one connection watch. */
export const MOST_WATCHED = 64;

/** Somebody who wants to see a camera. */
export interface Watcher {
  moduleId: string;
  /** Frames a second are enough; `null`: every one. */
  maxFps: number | null;
  take: (frame: Frame) => void;
}

type Say = (message: Watch | Shown) => void;

/**
 * The pictures of any number of cameras over the one live connection.
 *
 * The hub sends a camera's newest frame and nothing more before it is told that the one before was painted; so nothing
 * queues up here or on the way, and what is not watched is not sent.
 */
export class Pictures {
  /** Whether the hub sends pictures on this connection; `null` while that is not known. */
  offered = $state<boolean | null>(null);

  readonly #watchers = new Set<Watcher>();
  #say: Say | null = null;
  #told = '[]';
  #telling = false;

  /** Whether pictures are expected on this connection. */
  get watching(): boolean {
    return this.#say !== null && this.#watchers.size > 0;
  }

  /** Watches until the returned function is called. */
  watch(watcher: Watcher): () => void {
    this.#watchers.add(watcher);
    this.#tellSoon();
    return () => {
      this.#watchers.delete(watcher);
      this.#tellSoon();
    };
  }

  /** A connection to a hub that knows pictures: from now on `say` reaches it, and it knows of no watcher yet. */
  begin(say: Say): void {
    this.offered = true;
    this.#say = say;
    this.#told = '[]';
    this.#tell();
  }

  /** The connection ended. Whether the next hub knows pictures is to be seen. */
  end(): void {
    this.offered = null;
    this.#say = null;
  }

  /** The hub is one that does not know them. */
  refuse(): void {
    this.offered = false;
    this.#say = null;
  }

  /** A binary message has come. */
  take(message: ArrayBuffer): void {
    const frame = readFrame(message);
    if (!frame) return;
    for (const watcher of [...this.#watchers]) if (watcher.moduleId === frame.moduleId) watcher.take(frame);
  }

  /** Tells the hub that this frame was painted, so that it may send another. */
  shown({ moduleId, seq }: Frame): void {
    this.#say?.({ type: 'shown', module_id: moduleId, seq });
  }

  /** Tiles come and go together: many changes are one message. */
  #tellSoon(): void {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      this.#tell();
    });
  }

  #tell(): void {
    if (!this.#say) return;
    const cameras = wanted(this.#watchers);
    const told = JSON.stringify(cameras);
    if (told === this.#told) return;
    this.#told = told;
    this.#say({ type: 'watch', cameras });
  }
}

/** One entry a camera, at the rate of whoever wants the most. */
function wanted(watchers: Iterable<Watcher>): Watch['cameras'] {
  const rates = new Map<string, number | null>();
  for (const { moduleId, maxFps } of watchers) {
    const known = rates.get(moduleId);
    rates.set(moduleId, known === null || maxFps === null ? null : Math.max(known ?? 0, maxFps));
  }
  return [...rates]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, MOST_WATCHED)
    .map(([module_id, max_fps]) => (max_fps === null ? { module_id } : { module_id, max_fps }));
}

/** How many frames a second a tile of that width (CSS pixels) is worth; in the full view every frame is. */
export function rateOf(width: number): number {
  if (width < 260) return 5;
  return width < 520 ? 10 : 15;
}
