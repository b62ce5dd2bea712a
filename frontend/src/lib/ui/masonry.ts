/** The height of a grid row, in CSS pixels: a card spans as many rows as its content needs. */
const ROW_PX = 4;

/** Reads all sizes before it writes, so that the grid is laid out once and not once for each card. */
function spanRows(grid: HTMLElement, entries: readonly ResizeObserverEntry[]): void {
  const gap = parseFloat(getComputedStyle(grid).columnGap) || 0;
  const spans = entries.map(({ target, borderBoxSize }) => ({
    card: target as HTMLElement,
    rows: Math.ceil((Math.round(borderBoxSize[0]?.blockSize ?? 0) + gap) / ROW_PX)
  }));
  for (const { card, rows } of spans) card.style.gridRowEnd = `span ${rows}`;
}

/**
 * For `{@attach}` of a grid with rows of 4 px and no gap between them: each child spans the rows of its
 * content, so that cards of different heights leave no holes. The space below a card equals the gap between
 * columns.
 */
export function masonry(grid: HTMLElement): () => void {
  const sizes = new ResizeObserver((entries) => spanRows(grid, entries));
  const children = new MutationObserver((changes) => {
    for (const { addedNodes, removedNodes } of changes) {
      for (const node of removedNodes) if (node instanceof Element) sizes.unobserve(node);
      for (const node of addedNodes) if (node instanceof Element && node.parentNode === grid) sizes.observe(node);
    }
  });
  for (const child of grid.children) sizes.observe(child);
  children.observe(grid, { childList: true });
  return () => {
    sizes.disconnect();
    children.disconnect();
  };
}
