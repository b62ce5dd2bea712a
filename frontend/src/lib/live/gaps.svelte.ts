import * as hub from '../api/hub';
import type { Gap } from '../api/types';
import { poll } from './poll';

/** No event tells of a gap; it is an exception, and a minute late is soon enough. */
const POLL_MS = 60_000;

/** The gaps of one series in the stretch of time that is shown. */
export class SeriesGaps {
  /** By when they begin. */
  gaps = $state.raw<readonly Gap[]>([]);
  /** Whether these are all: thousands of gaps are not read. */
  complete = $state(true);
  #of = '';

  /** Asks now and every minute, until the returned function is called. `now` is the hub's, in Unix seconds. */
  start(moduleId: string, type: string, spanSecs: number, now: () => number): () => void {
    const of = `${moduleId}/${type}/${spanSecs}`;
    // What is known stays when the same series is asked for again, because its chart came back into view.
    if (of !== this.#of) this.gaps = [];
    this.#of = of;
    return poll(POLL_MS, async (signal) => {
      // Whoever cannot be asked now is asked again; `live` tells when the hub is away.
      const result = await hub.gaps(moduleId, { type, since: Math.floor(now() - spanSecs) }, signal);
      this.gaps = result.items;
      this.complete = result.complete;
    });
  }
}
