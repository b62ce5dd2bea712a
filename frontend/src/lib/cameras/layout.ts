/** How many pictures stand side by side. */

interface Room {
  /** CSS pixels. */
  width: number;
  height: number;
  /** Between two pictures. */
  gap: number;
}

/** Below that a picture shows nothing worth seeing; then the page scrolls. */
const LEAST_WIDTH = 220;
/** On a screen this narrow a picture is as wide as the screen while they are few, and half of it then. */
const NARROW = 560;
const FEW = 4;

export interface Layout {
  columns: number;
  /** Of a row, in CSS pixels. */
  height: number;
}

/** The columns that make the pictures biggest, all of them on the screen if they can be. `aspect` is width by height. */
export function layoutOf(count: number, room: Room, aspect: number): Layout {
  if (room.width < NARROW) return scrolling(count <= FEW ? 1 : 2, room, aspect);
  let best: Layout = { columns: 1, height: 0 };
  let widest = 0;
  for (let columns = 1; columns <= Math.max(1, count); columns += 1) {
    const rows = Math.ceil(count / columns);
    const cell = {
      width: (room.width - (columns - 1) * room.gap) / columns,
      height: (room.height - (rows - 1) * room.gap) / rows
    };
    const picture = Math.min(cell.width, cell.height * aspect);
    if (picture > widest + 0.5) {
      widest = picture;
      best = { columns, height: Math.min(cell.height, cell.width / aspect) };
    }
  }
  if (widest >= LEAST_WIDTH) return best;
  return scrolling(Math.max(1, Math.floor((room.width + room.gap) / (LEAST_WIDTH + room.gap))), room, aspect);
}

function scrolling(columns: number, { width, gap }: Room, aspect: number): Layout {
  return { columns, height: (width - (columns - 1) * gap) / columns / aspect };
}
