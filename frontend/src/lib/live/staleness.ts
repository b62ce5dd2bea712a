/** The one rule for stale frames and values. Ages are in seconds by the browser's clock. */

/** A value is stale after three of its intervals, and never before two seconds. */
export const isStale = (ageSecs: number, intervalSecs: number): boolean => ageSecs > staleAfterSecs(intervalSecs);

/** The age in seconds from which a value is stale. */
export const staleAfterSecs = (intervalSecs: number): number => Math.max(2, 3 * intervalSecs);
