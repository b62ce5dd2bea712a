import * as hub from '../api/hub';
import { errorMessage } from '../api/problem';
import type { StorageReport } from '../api/types';
import { poll } from './poll';

/** There is no event for the storage. Its problems last for hours, not for seconds. */
const POLL_MS = 60_000;

/** The status of the hub's storage, polled every minute. */
export class StorageStatus {
  /** The newest report, or `null` before the first. */
  report = $state.raw<StorageReport | null>(null);
  /** Why the newest request failed. */
  error = $state<string | null>(null);

  /** Polls now and every minute, until the returned function is called. */
  start(): () => void {
    return poll(POLL_MS, (signal) => this.refresh(signal));
  }

  /** Requests the report now. */
  async refresh(signal?: AbortSignal): Promise<void> {
    try {
      this.report = await hub.storage(signal);
      this.error = null;
    } catch (thrown) {
      // The last report stays on the page.
      if (!signal?.aborted) this.error = errorMessage(thrown);
    }
  }
}
