import * as hub from '../api/hub';
import { messageOf } from '../api/problem';
import type { StorageReport } from '../api/types';
import { repeat } from './poll';

/** No event tells of the storage; what is wrong with it is wrong for hours, not for seconds. */
const ASK_MS = 60_000;

/** How the hub's storage is: read when the page is opened, and every minute. */
export class StorageWatch {
  /** The newest report, or `null` while there was none. */
  report = $state.raw<StorageReport | null>(null);
  /** Why the newest attempt brought no report. */
  refusal = $state<string | null>(null);

  /** Reads it now and every minute, until the returned function is called. */
  start(): () => void {
    return repeat(ASK_MS, (signal) => this.refresh(signal));
  }

  /** Reads it now. */
  async refresh(signal?: AbortSignal): Promise<void> {
    try {
      this.report = await hub.storage(signal);
      this.refusal = null;
    } catch (thrown) {
      // What was known stays on the page.
      if (!signal?.aborted) this.refusal = messageOf(thrown);
    }
  }
}
