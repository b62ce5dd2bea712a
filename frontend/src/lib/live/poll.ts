/**
 * Acts now, every so many milliseconds, and whenever somebody looks at the page again; not while nobody does.
 * A failed attempt is `act`'s own affair: the next one comes in its time. The returned function ends it and aborts
 * what is under way.
 */
export function repeat(everyMs: number, act: (signal: AbortSignal) => Promise<void>): () => void {
  const stop = new AbortController();

  function turn(): void {
    if (!document.hidden) void act(stop.signal).catch(() => {});
  }

  turn();
  const interval = setInterval(turn, everyMs);
  document.addEventListener('visibilitychange', turn);
  return () => {
    stop.abort();
    clearInterval(interval);
    document.removeEventListener('visibilitychange', turn);
  };
}
