/** The labels of a chart's time axis. They are painted on a canvas, so the page records them there. */
import type { Locator, Page } from 'playwright-core';

export interface Label {
  text: string;
  /** Its position: 0 at the left edge of the plot, 1 at the right one. */
  share: number;
}

interface Written {
  text: string;
  /** Device pixels. */
  x: number;
  y: number;
}

type Keeping = HTMLCanvasElement & { written?: Written[] };

/** Must be called before the page is opened. */
export function recordLabels(page: Page): Promise<unknown> {
  return page.addInitScript(() => {
    const { fillText, clearRect } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.clearRect = function (...area) {
      (this.canvas as Keeping).written = [];
      clearRect.apply(this, area);
    };
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
      // A plot translates its context, so a position is relative to the canvas only after the transformation.
      const at = this.getTransform().transformPoint(new DOMPoint(x, y));
      ((this.canvas as Keeping).written ??= []).push({ text: String(text), x: at.x, y: at.y });
      fillText.call(this, text, x, y, ...rest);
    };
  });
}

/** The labels below the plot, from left to right. */
export function labelsOf(chart: Locator): Promise<Label[]> {
  return chart.evaluate((element) => {
    const canvas = element.querySelector('canvas') as Keeping | null;
    const plot = element.querySelector('.u-over')?.getBoundingClientRect();
    if (!canvas || !plot) return [];
    const { left, top } = canvas.getBoundingClientRect();
    return (
      (canvas.written ?? [])
        .map(({ text, x, y }) => ({ text, x: left + x / devicePixelRatio, y: top + y / devicePixelRatio }))
        // The lowest label of the value axis is level with the bottom.
        .filter(({ text, y }) => text !== '' && y > plot.bottom + 2)
        .sort((a, b) => a.x - b.x)
        .map(({ text, x }) => ({ text, share: (x - plot.left) / plot.width }))
    );
  });
}
