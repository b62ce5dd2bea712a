/**
 * The start of a long list, which grows when its end comes near the screen: a thousand tiles take seconds to
 * create, and few of them are looked at.
 */
export class GrowingList {
  /** The number of items to show. */
  count = $state(0);
  readonly #step: number;

  constructor(step: number) {
    this.#step = step;
    this.count = step;
  }

  /** Shows only the start of the list again. */
  reset(): void {
    this.count = this.#step;
  }

  /** For `{@attach}` of an element at the end of the list. It has to be another element after each growth. */
  readonly end = (element: Element): (() => void) => {
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.at(-1)?.isIntersecting) this.count += this.#step;
      },
      { rootMargin: '100%' }
    );
    observer.observe(element);
    return () => observer.disconnect();
  };
}
