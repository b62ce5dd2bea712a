import { ApiProblem, errorMessage } from '../api/problem';
import * as api from '../api/recording';
import { poll } from '../live/poll';

/** Somebody who looks at it wants to see it grow. */
const POLL_MS = 5_000;

/** What a camera records, and what there is of it. */
export class RecordingStatus {
  /** The newest, or `null` while there was none. */
  known = $state.raw<api.RecordingReport | null>(null);
  error = $state<string | null>(null);
  /** The hub does not record at all: it is one of before, or has no room set aside. */
  absent = $state(false);

  readonly #moduleId: string;

  constructor(moduleId: string) {
    this.#moduleId = moduleId;
  }

  start(): () => void {
    return poll(POLL_MS, (signal) => this.refresh(signal));
  }

  async refresh(signal?: AbortSignal): Promise<void> {
    try {
      this.known = await api.recording(this.#moduleId, signal);
      this.error = null;
      this.absent = false;
    } catch (thrown) {
      if (signal?.aborted) return;
      this.absent = thrown instanceof ApiProblem && thrown.kind === 'not_found';
      this.error = this.absent ? null : errorMessage(thrown);
    }
  }
}
