/**
 * Visibility and size of an element. An invisible camera requests no frames, and an invisible chart is not
 * drawn.
 */
export class Visibility {
  /** The element is on the screen, and the page is not hidden. */
  visible = $state(false);
  /** In CSS pixels; 0 before the first measurement. */
  width = $state(0);
  height = $state(0);
  readonly #margin: string;

  /** `margin`: an element this far outside the screen still counts as visible (a CSS margin). */
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
    // Not `clientWidth`: on a page with many such elements each would cause a layout.
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
