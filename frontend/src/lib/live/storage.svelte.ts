import * as hub from '../api/hub';
import { errorMessage } from '../api/problem';
import type { StorageReport } from '../api/types';
import { poll } from './poll';

/** No event tells of the storage; what is wrong with it is wrong for hours, not for seconds. */
const POLL_MS = 60_000;

/** How the hub's storage is: read when the page is opened, and every minute. */
export class StorageStatus {
  /** The newest report, or `null` while there was none. */
  report = $state.raw<StorageReport | null>(null);
  /** Why the newest attempt brought no report. */
  error = $state<string | null>(null);

  /** Reads it now and every minute, until the returned function is called. */
  start(): () => void {
    return poll(POLL_MS, (signal) => this.refresh(signal));
  }

  /** Reads it now. */
  async refresh(signal?: AbortSignal): Promise<void> {
    try {
      this.report = await hub.storage(signal);
      this.error = null;
    } catch (thrown) {
      // What was known stays on the page.
      if (!signal?.aborted) this.error = errorMessage(thrown);
    }
  }
}
