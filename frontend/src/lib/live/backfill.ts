import * as hub from '../api/hub';
import { type Series, WINDOW_SECS } from './series.svelte';

/**
 * The limit of one request; before the oldest reading of that page the hour is filled with minute averages.
 */
const LIMIT = 1000;
const RETRY_MS = 5_000;

/**
 * Loads the missing history of a series: single readings as far back as one page reaches, minute averages
 * before that. A failed attempt is repeated until the returned function is called.
 */
export function backfill(series: Series, now: () => number): () => void {
  const stop = new AbortController();
  let retry: ReturnType<typeof setTimeout> | undefined;

  async function attempt(backfillSince: number): Promise<void> {
    const since = Math.max(backfillSince, Math.floor(now() - WINDOW_SECS));
    const page = await hub.readings(series, { since, limit: LIMIT }, stop.signal);
    const oldest = page.items.at(-1)?.timestamp;
    const older =
      page.next === null || oldest === undefined
        ? []
        : (await hub.buckets(series, '1m', { since, until: oldest, limit: LIMIT }, stop.signal)).items;
    series.fill(page.items.toReversed(), older);
  }

  function start(): void {
    const backfillSince = series.backfillSince;
    if (backfillSince === null) return;
    attempt(backfillSince).catch(() => {
      if (!stop.signal.aborted) retry = setTimeout(start, RETRY_MS);
    });
  }

  start();
  return () => {
    stop.abort();
    clearTimeout(retry);
  };
}
