/** The distance of an element from the top of the page, so that it can take the rest of the screen. */
export class PageOffset {
  /** In CSS pixels. */
  top = $state(0);

  /** For `{@attach}`; updates when content above the element changes. */
  readonly observe = (element: Element): (() => void) => {
    const measure = () => (this.top = Math.round(element.getBoundingClientRect().top + scrollY));
    const resizeObserver = new ResizeObserver(measure);
    resizeObserver.observe(document.body);
    return () => resizeObserver.disconnect();
  };
}
