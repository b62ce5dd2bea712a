/** What stands at the axes of a chart. */
import type uPlot from 'uplot';
import { dayOf } from '../units/names';
import { number, type Scale } from '../units/units';

const DAY = 86_400;

/** Where the axis of a length of time may be divided, in seconds. */
export const TIME_STEPS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800, 2_592_000];

/** A time of day: `13:05`. */
export function clockOf(unixSecs: number, withSeconds = false): string {
  return new Date(unixSecs * 1000).toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    second: withSeconds ? '2-digit' : undefined,
    hour12: false
  });
}

/** A moment on a chart of that many seconds: within a day the time says it all. */
export function momentOn(unixSecs: number, spanSecs: number): string {
  if (spanSecs <= 3600) return clockOf(unixSecs, true);
  return spanSecs <= DAY ? clockOf(unixSecs) : `${dayOf(unixSecs)} ${clockOf(unixSecs)}`;
}

/** What stands below the splits of the time axis, which are `step` seconds apart. */
export function timeLabel(unixSecs: number, step: number): string {
  if (step < 60) return clockOf(unixSecs, true);
  const moment = new Date(unixSecs * 1000);
  const midnight = moment.getHours() === 0 && moment.getMinutes() === 0;
  if (step < DAY && !midnight) return clockOf(unixSecs);
  if (step < 28 * DAY) return moment.toLocaleDateString(undefined, { day: 'numeric', month: 'short' });
  return moment.toLocaleDateString(undefined, moment.getMonth() === 0 ? { year: 'numeric' } : { month: 'short' });
}

/** Room above and below, and never so close that noise looks like an event. In shown units, like all of the plot. */
export function valueRange(min: number | null, max: number | null, unit: string, scale: Scale): [number, number] {
  if (min === null || max === null) return [0, 1];
  if (unit === 'boolean') return [-0.1, 1.1];
  const least = 10 * 10 ** -scale.digits;
  const room = (max - min) * 0.12 + Math.max(0, least - (max - min)) / 2;
  // A quantity that never is negative does not get an axis that says it could be.
  return [min >= 0 ? Math.max(0, min - room) : min - room, max + room];
}

/** The unit stands once, at the top of the axis. */
export function valueLabels(splits: number[], unit: string, scale: Scale): string[] {
  if (unit === 'boolean') return splits.map((split) => (split === 0 ? 'No' : split === 1 ? 'Yes' : ''));
  const { words: tell } = scale;
  if (tell) {
    const labels = splits.map(tell);
    return labels.map((label, at) => (label === labels[at - 1] ? '' : label));
  }
  const step = Math.abs((splits[1] ?? 1) - (splits[0] ?? 0));
  const digits = step >= 1 || step === 0 ? 0 : Math.min(6, Math.ceil(-Math.log10(step) - 1e-9));
  return splits.map((split, at) => {
    const text = number(split, digits);
    return at === splits.length - 1 && scale.symbol ? `${text} ${scale.symbol}` : text;
  });
}

/** The widest label decides how wide the axis is, in CSS pixels. */
export const valueAxisSize = (_: uPlot, labels: string[] | null): number =>
  14 + Math.max(0, ...(labels ?? []).map((text) => text.length)) * 6.2;
