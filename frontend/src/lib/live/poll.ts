/**
 * Acts now, every so many milliseconds, and whenever somebody looks at the page again; not while nobody does.
 * A failed attempt is `action`'s own affair: the next one comes in its time. The returned function ends it and aborts
 * what is under way.
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
