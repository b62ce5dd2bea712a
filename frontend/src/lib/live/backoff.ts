const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/**
 * The delay before attempt number `attempt` (0, 1, ...), with full jitter: between nothing and a bound that
 * doubles. So the pages of a house do not all reconnect at the same time after a power cut.
 */
export function backoffMs(attempt: number, random: () => number): number {
  return random() * Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
}
