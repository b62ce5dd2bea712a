/** Whether an element can be seen, and its size: what cannot be seen takes no pictures and draws no chart. */
export class Sight {
  /** It is on the screen, and the page is not hidden. */
  seen = $state(false);
  /** In CSS pixels; 0 before it was measured. */
  width = $state(0);
  height = $state(0);
  readonly #margin: string;

  /** `margin`: how far outside the screen an element already counts as seen, as CSS writes a margin. */
  constructor(margin = '0px') {
    this.#margin = margin;
  }

  /** For `{@attach}`. */
  readonly follow = (element: Element): (() => void) => {
    let within = false;
    const look = () => (this.seen = within && !document.hidden);
    const crossing = new IntersectionObserver(
      (entries) => {
        within = entries.at(-1)?.isIntersecting ?? false;
        look();
      },
      { rootMargin: this.#margin }
    );
    // Not `clientWidth`: on a page with many such elements each would lay it out again.
    const sizing = new ResizeObserver(([entry]) => {
      this.width = Math.round(entry?.contentRect.width ?? 0);
      this.height = Math.round(entry?.contentRect.height ?? 0);
    });
    crossing.observe(element);
    sizing.observe(element);
    document.addEventListener('visibilitychange', look);
    return () => {
      crossing.disconnect();
      sizing.disconnect();
      document.removeEventListener('visibilitychange', look);
      this.seen = false;
    };
  };
}
