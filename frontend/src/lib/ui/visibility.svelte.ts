/** Whether an element can be visible, and its size: what cannot be visible takes no pictures and draws no chart. */
export class Visibility {
  /** It is on the screen, and the page is not hidden. */
  visible = $state(false);
  /** In CSS pixels; 0 before it was measured. */
  width = $state(0);
  height = $state(0);
  readonly #margin: string;

  /** `margin`: how far outside the screen an element already counts as visible, as CSS writes a margin. */
  constructor(margin = '0px') {
    this.#margin = margin;
  }

  /** For `{@attach}`. */
  readonly observe = (element: Element): (() => void) => {
    let intersecting = false;
    const update = () => (this.visible = intersecting && !document.hidden);
    const intersectionObserver = new IntersectionObserver(
      (entries) => {
        intersecting = entries.at(-1)?.isIntersecting ?? false;
        update();
      },
      { rootMargin: this.#margin }
    );
    // Not `clientWidth`: on a page with many such elements each would lay it out again.
    const resizeObserver = new ResizeObserver(([entry]) => {
      this.width = Math.round(entry?.contentRect.width ?? 0);
      this.height = Math.round(entry?.contentRect.height ?? 0);
    });
    intersectionObserver.observe(element);
    resizeObserver.observe(element);
    document.addEventListener('visibilitychange', update);
    return () => {
      intersectionObserver.disconnect();
      resizeObserver.disconnect();
      document.removeEventListener('visibilitychange', update);
      this.visible = false;
    };
  };
}
