import * as hub from '../api/hub';
import { type SeriesId, seriesKey } from '../api/series-id';
import type { Gap } from '../api/types';
import { poll } from './poll';

/** There is no event for a gap. Gaps are rare, and a minute late is soon enough. */
const POLL_MS = 60_000;

/** The gaps of one series in the time span of its chart. */
export class SeriesGaps {
  /** Ordered by start time. */
  gaps = $state.raw<readonly Gap[]>([]);
  /** Whether the list is complete: thousands of gaps are not read. */
  complete = $state(true);
  #of = '';

  /**
   * Polls now and every minute, until the returned function is called. `now` is the hub's time in Unix
   * seconds.
   */
  start(series: SeriesId, spanSecs: number, now: () => number): () => void {
    const of = `${seriesKey(series)} ${spanSecs}`;
    // The known gaps stay when polling starts again for the same series, because its chart is visible again.
    if (of !== this.#of) this.gaps = [];
    this.#of = of;
    return poll(POLL_MS, async (signal) => {
      // A failed request is repeated; `live` shows when the hub is not reachable.
      const result = await hub.gaps(series, { since: Math.floor(now() - spanSecs) }, signal);
      this.gaps = result.items;
      this.complete = result.complete;
    });
  }
}
