import { ApiProblem, errorMessage } from '../api/problem';
import * as api from '../api/recording';
import { poll } from '../live/poll';

/** Short enough to see a recording grow. */
const POLL_MS = 5_000;

/** The settings and recordings of a camera. */
export class RecordingStatus {
  /** The newest report, or `null` before the first. */
  known = $state.raw<api.RecordingReport | null>(null);
  error = $state<string | null>(null);
  /** The hub does not record: it is an older one, or has no space set aside for recordings. */
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
