/**
 * Replaces `$app/paths` where the page's functions run without a page: the hub is at the root of its host.
 */
export const base = '';
