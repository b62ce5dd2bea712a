/** Where on the page an element begins, which says how much of the screen is left for it. */
export class PageOffset {
  /** From the top of the page, in CSS pixels. */
  top = $state(0);

  /** For `{@attach}`; follows what comes and goes above the element. */
  readonly observe = (element: Element): (() => void) => {
    const measure = () => (this.top = Math.round(element.getBoundingClientRect().top + scrollY));
    const resizeObserver = new ResizeObserver(measure);
    resizeObserver.observe(document.body);
    return () => resizeObserver.disconnect();
  };
}
