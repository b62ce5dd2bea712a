/** The one rule for when a picture or a value is old. Ages are in seconds by the clock of this browser. */

/** What comes at intervals of some seconds is old after three of them, and never before two seconds. */
export const isStale = (ageSecs: number, intervalSecs: number): boolean => ageSecs > staleAfterSecs(intervalSecs);

/** After how many seconds it is old. */
export const staleAfterSecs = (intervalSecs: number): number => Math.max(2, 3 * intervalSecs);
