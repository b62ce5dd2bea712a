/**
 * The options of a uPlot chart: a line, the band between the extremes, and hatching where readings were lost.
 */
import type uPlot from 'uplot';
import type { Gap } from '../api/types';
import type { Scale } from '../units/units';
import { timeLabels, TIME_STEPS, valueAxisSize, valueLabels, valueRange } from './axis';
import { lonePoints, gapInterval } from './gaps';

/** Called for each drawing, because the values may have changed. */
export interface Shown {
  left: number;
  right: number;
  scale: Scale;
  gaps: readonly Gap[];
}

export interface Plan {
  width: number;
  height: number;
  unit: string;
  /** The custom property with the colour of the line. */
  colour: string;
  /** Whether a point is an average with a minimum and a maximum. */
  banded: boolean;
  shown: () => Shown;
  /** The pointer's position: the index of the nearest point, and the time itself. */
  onHover: (at: number | null, moment: number | null) => void;
}

/** The minimum width of a gap on the screen, in CSS pixels. */
const LEAST_PX = 4;
const HATCH_PX = 6;

export function optionsOf(element: HTMLElement, plan: Plan): uPlot.Options {
  const { width, height, unit, banded, shown, onHover } = plan;
  const style = getComputedStyle(element);
  const stroke = style.getPropertyValue(plan.colour).trim();
  const quiet = style.getPropertyValue('--ink-quiet').trim();
  const grid = style.getPropertyValue('--line').trim();
  const lost = style.getPropertyValue('--bad').trim();
  const font = `11px ${style.fontFamily}`;
  const edge: uPlot.Series = { stroke: 'transparent', width: 0, points: { show: false } };
  return {
    width,
    height,
    padding: [8, 16, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7, show: !banded } },
    scales: {
      x: { time: true, range: () => [shown().left, shown().right] },
      y: { range: (_, min, max) => valueRange(min, max, unit, shown().scale) }
    },
    axes: [
      {
        stroke: quiet,
        font,
        size: 22,
        gap: 4,
        space: (_, __, from, to) => (to - from < 600 ? 68 : 46),
        grid: { show: false },
        ticks: { show: false },
        values: (plot, splits, _, __, step) =>
          timeLabels(splits, step, (moment) => plot.valToPos(moment, 'x'), plot.bbox.width / devicePixelRatio)
      },
      {
        stroke: quiet,
        font,
        gap: 4,
        space: 24,
        size: valueAxisSize,
        grid: { stroke: grid, width: 1 },
        ticks: { show: false },
        values: (_, splits) => valueLabels(splits, unit, shown().scale),
        ...(unit === 'seconds' ? { incrs: TIME_STEPS } : {})
      }
    ],
    series: [
      {},
      {
        stroke,
        width: 1.75,
        points: {
          size: 3.5,
          fill: stroke,
          // `null` means all points; uPlot decides so when there are few.
          filter: (plot, at, all) => (all ? null : lonePoints([...(plot.data[at] ?? [])]))
        },
        fill: banded ? undefined : (plot) => shadeBelow(plot, stroke),
        // Down to the axis, not to zero: below zero the fill would be above the line.
        fillTo: (plot) => plot.scales.y?.min ?? 0
      },
      ...(banded ? [edge, edge] : [])
    ],
    bands: banded ? [{ series: [3, 2], fill: `${stroke}38` }] : [],
    hooks: {
      drawClear: [(plot) => shown().gaps.forEach((gap) => hatch(plot, gap, lost))],
      setCursor: [
        (plot) => {
          const { idx, left = -1 } = plot.cursor;
          onHover(idx ?? null, left < 0 ? null : plot.posToVal(left, 'x'));
        }
      ]
    }
  };
}

function shadeBelow(plot: uPlot, stroke: string): CanvasGradient | string {
  const { top, height } = plot.bbox;
  // uPlot calls this once before it knows its size.
  if (!Number.isFinite(top + height)) return 'transparent';
  const shade = plot.ctx.createLinearGradient(0, top, 0, top + height);
  shade.addColorStop(0, `${stroke}40`);
  shade.addColorStop(1, `${stroke}00`);
  return shade;
}

/** A gap of a second is as visible as one of a day. */
function hatch(plot: uPlot, gap: Gap, colour: string): void {
  const { ctx, bbox } = plot;
  const { min = 0, max = 1 } = plot.scales.x ?? {};
  const pixel = devicePixelRatio;
  const minSecs = ((max - min) * LEAST_PX * pixel) / bbox.width;
  const interval = gapInterval(gap, min, max, minSecs);
  if (!interval) return;
  const [from, to] = interval.map((moment) => plot.valToPos(moment, 'x', true)) as [number, number];
  ctx.save();
  ctx.beginPath();
  ctx.rect(from, bbox.top, to - from, bbox.height);
  ctx.clip();
  ctx.fillStyle = `${colour}24`;
  ctx.fillRect(from, bbox.top, to - from, bbox.height);
  ctx.strokeStyle = `${colour}90`;
  ctx.lineWidth = pixel;
  ctx.beginPath();
  const bottom = bbox.top + bbox.height;
  for (let x = from - bbox.height; x < to; x += HATCH_PX * pixel) {
    ctx.moveTo(x, bottom);
    ctx.lineTo(x + bbox.height, bbox.top);
  }
  ctx.stroke();
  ctx.restore();
}
