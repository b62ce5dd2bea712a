/** The height of a row of the grid, in CSS pixels: a tile takes as many rows as its content needs. */
const ROW_PX = 4;

/**
 * For `{@attach}` of a cell of a grid with rows of 4 px and no gap between them: the cell spans the rows of its content, so
 * that tiles of different heights leave no holes. The gap below a tile is that between columns.
 */
export function packed(cell: HTMLElement): () => void {
  const content = cell.firstElementChild;
  if (!(content instanceof HTMLElement)) return () => {};
  const sizing = new ResizeObserver(() => {
    const gap = parseFloat(getComputedStyle(cell.parentElement ?? cell).columnGap) || 0;
    cell.style.gridRowEnd = `span ${Math.ceil((content.offsetHeight + gap) / ROW_PX)}`;
  });
  sizing.observe(content);
  return () => sizing.disconnect();
}
