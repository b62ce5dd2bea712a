import type { Reading } from '../api/types';
import type { LiveEvent } from './protocol';

/**
 * Readings are applied in batches of this length: the page is updated once for all of them, not once for each of
 * hundreds a second.
 */
const BATCH_MS = 50;

type EventOf<Type extends LiveEvent['type']> = Extract<LiveEvent, { type: Type }>;

/** One handler for each type of event; readings arrive in batches. */
export type EventHandlers = {
  [Type in Exclude<LiveEvent['type'], 'reading'>]: (event: EventOf<Type>) => void;
} & { reading: (readings: readonly Reading[]) => void };

/** Parses the text messages of the live connection and calls the handler of each event, in the order of arrival. */
export class EventDispatcher {
  readonly #handlers: EventHandlers;
  #batch: Reading[] = [];
  #flushing: ReturnType<typeof setTimeout> | undefined;

  constructor(handlers: EventHandlers) {
    this.#handlers = handlers;
  }

  /** Returns whether the type of the event is known; an unknown one, of a newer hub, is ignored. */
  dispatch(message: string): boolean {
    const event = JSON.parse(message) as LiveEvent;
    if (!Object.hasOwn(this.#handlers, event.type)) return false;
    if (event.type === 'reading') this.#add(event.reading);
    else {
      // Events keep their order: no reading may be applied after the removal of its module.
      this.flush();
      (this.#handlers[event.type] as (event: LiveEvent) => void)(event);
    }
    return true;
  }

  /** Applies the readings that wait. */
  flush(): void {
    clearTimeout(this.#flushing);
    this.#flushing = undefined;
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    this.#batch = [];
    this.#handlers.reading(batch);
  }

  #add(reading: Reading): void {
    this.#batch.push(reading);
    this.#flushing ??= setTimeout(() => this.flush(), BATCH_MS);
  }
}
