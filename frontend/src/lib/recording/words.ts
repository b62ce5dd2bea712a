/** Recording as a person reads it. */
import type { RecordingMode, RecordingReport, RecordingSettings, Trigger } from '../api/recording';
import type { Module } from '../api/types';
import { counted, momentOf, titleOf } from '../units/names';
import { duration, number } from '../units/units';

export const MODES: readonly { mode: RecordingMode; name: string; means: string }[] = [
  { mode: 'off', name: 'Off', means: 'Nothing is recorded, unless somebody presses “Record now”.' },
  { mode: 'time_lapse', name: 'Time lapse', means: 'One picture every so many seconds.' },
  { mode: 'continuous', name: 'Continuous', means: 'Every picture the camera delivers.' },
  { mode: 'on_event', name: 'On an event', means: 'Every picture around what a module measured or did.' }
];

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

/** In the units a card is sold by, which the settings go by too: `198 MB`, `2.5 GB`. */
export function bytesOf(bytes: number): string {
  const place = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const amount = bytes / 1000 ** place;
  return `${number(amount, place > 2 && !Number.isInteger(amount) ? 1 : 0)} ${UNITS[place]}`;
}

export function triggerOf(trigger: Trigger): string {
  const { module_id, type, above, below, action } = trigger;
  if (action != null) return `${module_id} did “${action}”`;
  const bounds = [above == null ? [] : `above ${above}`, below == null ? [] : `below ${below}`].flat().join(' and ');
  return `${titleOf(type ?? 'anything')} of ${module_id} ${bounds}`.trim();
}

/** What is set, in a sentence. */
export function settingsOf({ mode, every_secs, before_secs, after_secs }: RecordingSettings): string {
  switch (mode) {
    case 'time_lapse':
      return `One picture every ${duration(every_secs)}.`;
    case 'on_event':
      return `From ${duration(before_secs)} before an event until ${duration(after_secs)} after it.`;
    default:
      return MODES.find((one) => one.mode === mode)?.means ?? mode;
  }
}

/** What there is. */
export function keptOf({ frames, bytes, oldest_at, keep_days, keep_bytes }: RecordingReport): string {
  const since = oldest_at == null ? '' : ` since ${momentOf(oldest_at)}`;
  const kept = frames === 0 ? 'Nothing is recorded yet.' : `${counted(frames, 'picture')}, ${bytesOf(bytes)}${since}.`;
  const days = keep_days === 0 ? 'without end' : `for ${counted(keep_days, 'day')}`;
  return `${kept} Kept ${days}, at most ${bytesOf(keep_bytes)}.`;
}

/** Every event of a module that may begin a recording; of a measure the value is still to be said. */
export function eventsOf(modules: readonly Module[]): Trigger[] {
  return modules.flatMap(({ id: module_id, manifest }) => [
    ...(manifest?.measures ?? []).map(({ type }) => ({ module_id, type })),
    ...(manifest?.actions ?? []).map(({ name: action }) => ({ module_id, action }))
  ]);
}

/** The value of a `datetime-local` input, to the second. */
export function inputOf(unixSecs: number): string {
  const moment = new Date(Math.floor(unixSecs) * 1000);
  const local = new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

/** Unix seconds of what such an input holds; `null` while it is empty or half written. */
export function momentIn(input: string): number | null {
  const moment = new Date(input).getTime() / 1000;
  return Number.isFinite(moment) ? moment : null;
}

/** The value of a `date` input. */
export const dateOf = (unixSecs: number): string => inputOf(unixSecs).slice(0, 10);

/** What stands behind the seconds, so that two frames after each other differ: `07`. */
export const hundredths = (unixSecs: number): string => String(Math.floor((unixSecs * 100) % 100)).padStart(2, '0');
