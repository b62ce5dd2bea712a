import { messageOf } from '../api/problem';
import * as api from '../api/recording';
import { repeat } from '../live/poll';
import { dayAround } from './timeline';

const ASK_MS = 5_000;

/** What was recorded of a camera on one day. */
export class Day {
  range = $state.raw<api.Range>({ since: 0, until: 1 });
  stretches = $state.raw<readonly api.Stretch[]>([]);
  /** There was more than is shown. */
  cut = $state(false);
  known = $state(false);
  refusal = $state<string | null>(null);

  readonly #moduleId: string;

  constructor(moduleId: string, now: number) {
    this.#moduleId = moduleId;
    this.range = dayAround(now);
  }

  /** The day so many days later, or the one that holds that moment. */
  open(moment: number, daysLater = 0): void {
    this.range = dayAround(moment, daysLater);
    this.stretches = [];
    this.known = false;
  }

  /** Follows the opened day, which may still be going on, until the returned function is called. */
  start(): () => void {
    const range = this.range;
    return repeat(ASK_MS, async (signal) => {
      // A day that is over does not change; retention may take of it, which playing then says.
      if (this.known && range.until < Date.now() / 1000 - 60) return;
      try {
        const { items, whole } = await api.stretches(this.#moduleId, range, signal);
        this.stretches = items;
        this.cut = !whole;
        this.known = true;
        this.refusal = null;
      } catch (thrown) {
        if (!signal.aborted) this.refusal = messageOf(thrown);
      }
    });
  }
}
