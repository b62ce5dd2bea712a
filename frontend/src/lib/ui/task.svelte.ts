import { errorMessage } from '../api/problem';

/** Something a person asked for with a button: under way, refused, or done. */
export class Task {
  running = $state(false);
  error = $state<string | null>(null);

  /** Resolves to whether it was done; a second press while it is under way does nothing. */
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
