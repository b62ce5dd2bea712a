/**
 * Runs `action` now, at each interval, and when the page becomes visible; not while it is hidden. A failed
 * attempt is ignored: `action` handles its own errors, and the next one follows in its time. The returned
 * function stops polling and aborts the request in flight.
 */
export function poll(everyMs: number, action: (signal: AbortSignal) => Promise<void>): () => void {
  const stop = new AbortController();

  function tick(): void {
    if (!document.hidden) void action(stop.signal).catch(() => {});
  }

  tick();
  const interval = setInterval(tick, everyMs);
  document.addEventListener('visibilitychange', tick);
  return () => {
    stop.abort();
    clearInterval(interval);
    document.removeEventListener('visibilitychange', tick);
  };
}
