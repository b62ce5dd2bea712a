import { errorMessage } from '../api/problem';

/** A request behind a button: running, failed, or done. */
export class Task {
  running = $state(false);
  error = $state<string | null>(null);

  /** Resolves to whether the request succeeded; does nothing while one is running. */
  async run(act: () => Promise<unknown>): Promise<boolean> {
    if (this.running) return false;
    this.running = true;
    this.error = null;
    try {
      await act();
      return true;
    } catch (thrown) {
      this.error = errorMessage(thrown);
      return false;
    } finally {
      this.running = false;
    }
  }
}
