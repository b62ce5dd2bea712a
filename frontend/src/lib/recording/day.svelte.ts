import { errorMessage } from '../api/problem';
import * as api from '../api/recording';
import { poll } from '../live/poll';
import { localDayOf } from './timeline';

const POLL_MS = 5_000;

/** The recordings of a camera on one day. */
export class Day {
  range = $state.raw<api.Range>({ since: 0, until: 1 });
  clips = $state.raw<readonly api.Clip[]>([]);
  /** There were more clips than are shown. */
  cut = $state(false);
  known = $state(false);
  error = $state<string | null>(null);

  readonly #moduleId: string;

  constructor(moduleId: string, now: number) {
    this.#moduleId = moduleId;
    this.range = localDayOf(now);
  }

  /** Opens the day that contains that time, or the one `offsetDays` later. */
  open(moment: number, offsetDays = 0): void {
    this.range = localDayOf(moment, offsetDays);
    this.clips = [];
    this.known = false;
  }

  /** Polls the opened day until the returned function is called. */
  start(): () => void {
    const range = this.range;
    return poll(POLL_MS, async (signal) => {
      // A past day does not change; only retention may delete parts of it, which the player reports.
      if (this.known && range.until < Date.now() / 1000 - 60) return;
      try {
        const { items, complete } = await api.clips(this.#moduleId, range, signal);
        this.clips = items;
        this.cut = !complete;
        this.known = true;
        this.error = null;
      } catch (thrown) {
        if (!signal.aborted) this.error = errorMessage(thrown);
      }
    });
  }
}
