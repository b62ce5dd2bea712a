/** Texts of a module's card. */
import type { Measure } from '../api/types';
import { formatDuration, scaleOf } from '../units/units';

/** Unit and interval of a measure: `°C, every 5 s`. Counts and durations have no unit: `every 5 s`. */
export function measureOf({ unit, every_secs }: Measure): string {
  const { symbol, format } = scaleOf(unit);
  const every = every_secs ? `every ${formatDuration(every_secs)}` : '';
  return [format ? '' : symbol, every].filter(Boolean).join(', ');
}

/** The measures of one type with the same unit and interval. */
export interface MeasureGroup {
  type: string;
  /** Unit and interval. */
  text: string;
  /** `null`: the default channel. */
  channels: (string | null)[];
}

/** A module with twenty probes is one group, not twenty. */
export function groupByType(measures: readonly Measure[]): MeasureGroup[] {
  const groups: MeasureGroup[] = [];
  for (const measure of measures) {
    const text = measureOf(measure);
    const group = groups.find((one) => one.type === measure.type && one.text === text);
    if (group) group.channels.push(measure.channel ?? null);
    else groups.push({ type: measure.type, text, channels: [measure.channel ?? null] });
  }
  return groups;
}
