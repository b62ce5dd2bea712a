/** The height of a row of the grid, in CSS pixels: a tile takes as many rows as its content needs. */
const ROW_PX = 4;

/** One for all cells: it reads before it writes, so that the grid is laid out once and not for each of its cells. */
let sizing: ResizeObserver | undefined;

function resize(entries: readonly ResizeObserverEntry[]): void {
  const sizes = entries.map(({ target, borderBoxSize }) => {
    const cell = target.parentElement;
    const gap = cell?.parentElement ? parseFloat(getComputedStyle(cell.parentElement).columnGap) || 0 : 0;
    return { cell, rows: Math.ceil((Math.round(borderBoxSize[0]?.blockSize ?? 0) + gap) / ROW_PX) };
  });
  for (const { cell, rows } of sizes) if (cell) cell.style.gridRowEnd = `span ${rows}`;
}

/**
 * For `{@attach}` of a cell of a grid with rows of 4 px and no gap between them: the cell spans the rows of its content, so
 * that tiles of different heights leave no holes. The gap below a tile is that between columns.
 */
export function masonry(cell: HTMLElement): () => void {
  const content = cell.firstElementChild;
  if (!content) return () => {};
  const observer = (sizing ??= new ResizeObserver(resize));
  observer.observe(content);
  return () => observer.unobserve(content);
}
