/** Texts of a module's card. */
import type { Measure } from '../api/types';
import { formatDuration, scaleOf } from '../units/units';

/** Unit and interval of a measure: `°C, every 5 s`. Counts and durations have no unit: `every 5 s`. */
export function measureOf({ unit, every_secs }: Measure): string {
  const { symbol, format } = scaleOf(unit);
  const every = every_secs ? `every ${formatDuration(every_secs)}` : '';
  return [format ? '' : symbol, every].filter(Boolean).join(', ');
}
