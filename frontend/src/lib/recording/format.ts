/** Texts about recordings. */
import type { RecordingMode, RecordingReport, RecordingSettings, Trigger } from '../api/recording';
import type { Measure, Module } from '../api/types';
import { formatCount, formatDateTime, seriesTitle } from '../units/names';
import { formatBytes, formatDuration } from '../units/units';

export const MODES: readonly { mode: RecordingMode; name: string; means: string }[] = [
  { mode: 'off', name: 'Off', means: 'Off. “Record now” still works.' },
  { mode: 'time_lapse', name: 'Time lapse', means: 'One frame at a fixed interval.' },
  { mode: 'continuous', name: 'Continuous', means: 'Every frame of the camera.' },
  { mode: 'on_event', name: 'On events', means: 'Every frame shortly before and after an event.' }
];

export function describeTrigger(trigger: Trigger): string {
  const { module_id, type, channel, above, below, action } = trigger;
  if (action != null) return `When “${action}” on ${module_id} succeeds`;
  const bounds = [above == null ? [] : `above ${above}`, below == null ? [] : `below ${below}`].flat().join(' and ');
  const which = channel === '' ? ', default channel,' : '';
  return `${seriesTitle(type ?? 'anything', channel || undefined)}${which} of ${module_id} ${bounds}`.trim();
}

/** The settings as a sentence. */
export function describeSettings({ mode, every_secs, before_secs, after_secs }: RecordingSettings): string {
  switch (mode) {
    case 'time_lapse':
      return `One frame every ${formatDuration(every_secs)}.`;
    case 'on_event':
      return `From ${formatDuration(before_secs)} before to ${formatDuration(after_secs)} after each event.`;
    default:
      return MODES.find((one) => one.mode === mode)?.means ?? mode;
  }
}

/** The recorded frames, and how long they are kept. */
export function describeKept(report: RecordingReport): string {
  const { frames, bytes, oldest_at, keep_days, keep_bytes, recording } = report;
  const since = oldest_at == null ? '' : ` since ${formatDateTime(oldest_at)}`;
  const none = recording ? 'The first frames are being saved.' : 'No recordings yet.';
  const kept = frames === 0 ? none : `${formatCount(frames, 'frame')}, ${formatBytes(bytes)}${since}.`;
  const days = keep_days === 0 ? 'forever' : `for ${formatCount(keep_days, 'day')}`;
  return `${kept} Kept ${days}, at most ${formatBytes(keep_bytes)}.`;
}

/** The text of an option of `triggerOptions`. */
export function describeTriggerOption(option: Trigger, options: readonly Trigger[]): string {
  const { module_id, type, channel } = option;
  const hasChannels = options.some(
    (one) => one.module_id === module_id && one.type === type && one.channel !== undefined
  );
  const isAnyChannel = option.action === undefined && channel === undefined && hasChannels;
  return isAnyChannel ? `${describeTrigger(option)}, any channel` : describeTrigger(option);
}

/**
 * Every event of a module that can start a recording; a measure still needs a value. A type with channels is
 * listed once for all of them, and once for each; the default channel is the empty one.
 */
export function triggerOptions(modules: readonly Module[]): Trigger[] {
  return modules.flatMap(({ id: module_id, manifest }) => [
    ...measureTriggers(module_id, manifest?.measures ?? []),
    ...(manifest?.actions ?? []).map(({ name: action }) => ({ module_id, action }))
  ]);
}

function measureTriggers(module_id: string, measures: readonly Measure[]): Trigger[] {
  const types = [...new Set(measures.map(({ type }) => type))];
  return types.flatMap((type) => {
    const channels = measures.flatMap((measure) => (measure.type === type ? [measure.channel ?? ''] : []));
    const hasChannels = channels.some((channel) => channel !== '');
    return [{ module_id, type }, ...(hasChannels ? channels.map((channel) => ({ module_id, type, channel })) : [])];
  });
}

/** The value of a `datetime-local` input, to the second. */
export function toDateTimeInput(unixSecs: number): string {
  const moment = new Date(Math.floor(unixSecs) * 1000);
  const local = new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

/** The Unix seconds of such an input; `null` while it is empty or incomplete. */
export function parseDateTimeInput(input: string): number | null {
  const moment = new Date(input).getTime() / 1000;
  return Number.isFinite(moment) ? moment : null;
}

/** The value of a `date` input. */
export const toDateInput = (unixSecs: number): string => toDateTimeInput(unixSecs).slice(0, 10);

/** The hundredths of a second, which tell two consecutive frames apart: `07`. */
export const hundredths = (unixSecs: number): string => String(Math.floor((unixSecs * 100) % 100)).padStart(2, '0');
