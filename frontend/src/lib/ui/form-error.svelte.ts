import { ApiProblem, errorMessage } from '../api/problem';

/** Why the hub rejected a form. After too many attempts it counts down to the next one. */
export class FormError {
  text = $state<string | null>(null);
  #tick: ReturnType<typeof setInterval> | undefined;

  show(thrown: unknown): void {
    this.clear();
    const problem = thrown instanceof ApiProblem ? thrown : null;
    if (problem?.kind === 'rate_limited' && problem.retryAfterSecs !== null) this.#countDown(problem.retryAfterSecs);
    else this.text = errorMessage(thrown);
  }

  /** Removes the text and ends the countdown. */
  clear(): void {
    clearInterval(this.#tick);
    this.text = null;
  }

  #countDown(secs: number): void {
    const until = Date.now() + secs * 1000;
    const tick = () => {
      const rest = Math.ceil((until - Date.now()) / 1000);
      if (rest > 0) this.text = `Too many attempts. Try again in ${rest} s.`;
      else this.clear();
    };
    tick();
    if (this.text !== null) this.#tick = setInterval(tick, 1000);
  }
}
