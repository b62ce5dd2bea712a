const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/**
 * How long to wait before attempt number `attempt` (0, 1, ...), with full jitter: anything from nothing to a bound
 * that doubles, so that the pages of a house do not all come back in the same moment after a power cut.
 */
export function backoffMs(attempt: number, random: () => number): number {
  return random() * Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
}
