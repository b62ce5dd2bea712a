/** Whether somebody can see an element, and how wide it is: what is not seen takes no pictures. */
export class Sight {
  /** It is on the screen, and the page is not hidden. */
  seen = $state(false);
  /** In CSS pixels; 0 before it was measured. */
  width = $state(0);

  /** For `{@attach}`. */
  readonly follow = (element: Element): (() => void) => {
    let within = false;
    const look = () => (this.seen = within && !document.hidden);
    const crossing = new IntersectionObserver((entries) => {
      within = entries.at(-1)?.isIntersecting ?? false;
      look();
    });
    const sizing = new ResizeObserver(() => (this.width = element.clientWidth));
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
