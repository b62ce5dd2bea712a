/** The number of columns of the camera wall. */

interface Viewport {
  /** CSS pixels. */
  width: number;
  height: number;
  /** Between two tiles. */
  gap: number;
}

/** Below this width a tile is too small to see anything; then the page scrolls. */
const MIN_WIDTH = 220;
/** On a screen this narrow, up to `FEW` tiles take the whole width each, and more tiles half of it. */
const NARROW = 560;
const FEW = 4;

export interface Layout {
  columns: number;
  /** The height of a row in CSS pixels. */
  height: number;
}

/**
 * The columns that make the tiles biggest, with all of them on the screen if possible. `aspect` is width
 * divided by height.
 */
export function layoutOf(count: number, viewport: Viewport, aspect: number): Layout {
  if (viewport.width < NARROW) return scrolling(count <= FEW ? 1 : 2, viewport, aspect);
  let best: Layout = { columns: 1, height: 0 };
  let widest = 0;
  for (let columns = 1; columns <= Math.max(1, count); columns += 1) {
    const rows = Math.ceil(count / columns);
    const cell = {
      width: (viewport.width - (columns - 1) * viewport.gap) / columns,
      height: (viewport.height - (rows - 1) * viewport.gap) / rows
    };
    const imageWidth = Math.min(cell.width, cell.height * aspect);
    if (imageWidth > widest + 0.5) {
      widest = imageWidth;
      best = { columns, height: Math.min(cell.height, cell.width / aspect) };
    }
  }
  if (widest >= MIN_WIDTH) return best;
  return scrolling(
    Math.max(1, Math.floor((viewport.width + viewport.gap) / (MIN_WIDTH + viewport.gap))),
    viewport,
    aspect
  );
}

function scrolling(columns: number, { width, gap }: Viewport, aspect: number): Layout {
  return { columns, height: (width - (columns - 1) * gap) / columns / aspect };
}
