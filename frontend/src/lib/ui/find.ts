/** Searching in lists of modules and sensors. */

/** A list shorter than this has no search field. */
export const MIN_ITEMS = 20;

/** Whether each word of `query` is in one of the texts; upper and lower case are the same. */
export function matches(query: string, texts: readonly string[]): boolean {
  const all = texts.join('\n').toLowerCase();
  return query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}
