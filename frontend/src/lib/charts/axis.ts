/** The labels and ranges of a chart's axes. */
import type uPlot from 'uplot';
import { formatDate } from '../units/names';
import { formatNumber, formatExponent, type Scale } from '../units/units';

const DAY = 86_400;

/** Possible intervals between the labels of a time axis, in seconds. */
export const TIME_STEPS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800, 2_592_000];

/** A time of day: `13:05`. */
export function formatTime(unixSecs: number, withSeconds = false): string {
  return new Date(unixSecs * 1000).toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    second: withSeconds ? '2-digit' : undefined,
    hour12: false
  });
}

/** A time on a chart with a span of that many seconds; a chart of one day has no date. */
export function formatChartTime(unixSecs: number, spanSecs: number): string {
  if (spanSecs <= 3600) return formatTime(unixSecs, true);
  return spanSecs <= DAY ? formatTime(unixSecs) : `${formatDate(unixSecs)} ${formatTime(unixSecs)}`;
}

/** The label of one split of the time axis; the splits are `step` seconds apart. */
export function timeLabel(unixSecs: number, step: number): string {
  if (step < 60) return formatTime(unixSecs, true);
  const moment = new Date(unixSecs * 1000);
  const midnight = moment.getHours() === 0 && moment.getMinutes() === 0;
  if (step < DAY && !midnight) return formatTime(unixSecs);
  if (step < 28 * DAY) return moment.toLocaleDateString(undefined, { day: 'numeric', month: 'short' });
  return moment.toLocaleDateString(undefined, moment.getMonth() === 0 ? { year: 'numeric' } : { month: 'short' });
}

/**
 * The range of the value axis in displayed numbers: with a margin above and below the values, and wide enough
 * that noise does not fill it.
 */
export function valueRange(min: number | null, max: number | null, unit: string, scale: Scale): [number, number] {
  if (min === null || max === null) return [0, 1];
  if (unit === 'boolean') return [-0.1, 1.1];
  const minRange = 10 * 10 ** -scale.digits;
  const margin = (max - min) * 0.12 + Math.max(0, minRange - (max - min)) / 2;
  // The axis of a quantity that is never negative does not go below zero.
  return [min >= 0 ? Math.max(0, min - margin) : min - margin, max + margin];
}

/** The longest label with a unit, in characters; a longer unit is left out, because the tile shows it too. */
const MAX_LABEL_CHARS = 11;
/** The usual width of a character of a label, in CSS pixels. */
const CHAR_PX = 6.2;

/** The number of decimals that a step needs: 2 for 0.25, because the steps of an axis have two digits at most. */
function decimalsOf(step: number): number {
  if (step === 0) return 0;
  const most = Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(step) + 1e-9)));
  const oneLess = step * 10 ** (most - 1);
  return most > 0 && Math.abs(oneLess - Math.round(oneLess)) < 1e-6 ? most - 1 : most;
}

/** The labels of the value axis. Only the top label has the power of ten and the unit. */
export function valueLabels(splits: number[], unit: string, scale: Scale): string[] {
  if (unit === 'boolean') return splits.map((split) => (split === 0 ? 'No' : split === 1 ? 'Yes' : ''));
  const { format } = scale;
  if (format) {
    const labels = splits.map(format);
    return labels.map((label, at) => (label === labels[at - 1] ? '' : label));
  }
  const step = Math.abs((splits[1] ?? 1) - (splits[0] ?? 0));
  const digits = decimalsOf(step);
  const power = formatExponent(scale);
  return splits.map((split, at) => {
    const text = formatNumber(split, digits);
    if (at < splits.length - 1) return text;
    const withPower = power ? `${text} ${power}` : text;
    const withUnit = scale.symbol ? `${withPower} ${scale.symbol}` : withPower;
    return withUnit.length <= MAX_LABEL_CHARS ? withUnit : withPower;
  });
}

/** The widest label sets the width of the axis, in CSS pixels. */
export const valueAxisSize = (_: uPlot, labels: string[] | null): number =>
  14 + Math.max(0, ...(labels ?? []).map((text) => text.length)) * CHAR_PX;

/** A label may extend this far beyond the right edge of the plot, in CSS pixels: the padding of the plot. */
const RIGHT_PX = 14;

/**
 * The labels of the time axis. A label is left out if it would extend beyond the left edge of the plot, into
 * the lowest label of the value axis, or beyond the right edge. `at` returns the position of a time, in CSS
 * pixels from the left edge.
 */
export function timeLabels(splits: number[], step: number, at: (unixSecs: number) => number, width: number): string[] {
  return splits.map((split) => {
    const text = timeLabel(split, step);
    const half = (text.length * CHAR_PX) / 2;
    const middle = at(split);
    return middle - half < 0 || middle + half > width + RIGHT_PX ? '' : text;
  });
}
