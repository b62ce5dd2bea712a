/** Names, times and counts as text. */
import { formatNumber } from './units';

const WORDS: Readonly<Record<string, string>> = {
  cpu: 'CPU',
  gpu: 'GPU',
  co2: 'CO₂',
  tvoc: 'TVOC',
  uv: 'UV',
  io: 'I/O',
  ip: 'IP',
  wifi: 'Wi-Fi',
  rssi: 'RSSI',
  pm25: 'PM2.5',
  pm10: 'PM10',
  led: 'LED'
};

/** `cpu-temperature` becomes `CPU temperature`. */
export function titleOf(id: string): string {
  const words = id.split(/[-_]+/).map((word) => WORDS[word] ?? word);
  const title = words.join(' ');
  return title.charAt(0).toUpperCase() + title.slice(1);
}

/** The parts of an id that can be read as words: `supply`, `l1`, `2`; a serial number is none. */
const READABLE_PART = /^([a-z]+\d{0,2}|\d{1,3})$/;
/** A longer channel is shortened in titles. */
const MAX_CHANNEL_LEN = 24;

/** `supply-air` becomes `supply air`. A serial number stays as it is, and a very long id loses its middle. */
export function channelName(channel: string): string {
  const parts = channel.split(/[-_]+/);
  const name = parts.every((part) => READABLE_PART.test(part))
    ? parts.map((part) => WORDS[part] ?? part).join(' ')
    : channel;
  return name.length <= MAX_CHANNEL_LEN ? name : `${name.slice(0, 11)}…${name.slice(-12)}`;
}

/** The title of a series: `Temperature`, or `Temperature · supply` for a channel. */
export const seriesTitle = (type: string, channel: string | null | undefined): string =>
  channel == null ? titleOf(type) : `${titleOf(type)} · ${channelName(channel)}`;

/** The id of a channel if its name in `seriesTitle` differs, as a tooltip. */
export const channelTooltip = (channel: string | null | undefined): string | undefined =>
  channel == null || channelName(channel) === channel ? undefined : `Channel ${channel}`;

/** The time since an event, in one coarse unit: `just now`, `12 s ago`, `3 min ago`. */
export function formatAgo(seconds: number): string {
  const units: [number, string][] = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min']
  ];
  const past = Math.max(0, Math.round(seconds));
  if (past < 2) return 'just now';
  const [size, unit] = units.find(([from]) => past >= from) ?? [1, 's'];
  return `${Math.floor(past / size)} ${unit} ago`;
}

/** The time until a moment, in one coarse unit: `12 s ahead`, `2 min ahead`. */
export function formatAhead(seconds: number): string {
  const future = Math.round(seconds);
  return future < 60 ? `${future} s ahead` : `${Math.round(future / 60)} min ahead`;
}

const TIME_NOTES: Readonly<Record<string, string>> = {
  arrival: 'The clock of the module is ahead. This is the time of arrival.',
  hub_unsynced: 'The clock of the hub was wrong at that time.'
};

/** A note on the clock that set a value's time; `null` when none is needed. */
export const timeSourceNote = (source: string | undefined): string | null => TIME_NOTES[source ?? ''] ?? null;

/** A time by the reader's clock; with the date when it is not today. */
export function formatDateTime(unixSecs: number): string {
  const moment = new Date(unixSecs * 1000);
  const today = moment.toDateString() === new Date().toDateString();
  return moment.toLocaleString(undefined, { dateStyle: today ? undefined : 'medium', timeStyle: 'medium' });
}

/** A date, with the year when it is not this one: `24 Nov`. */
export function formatDate(unixSecs: number): string {
  const day = new Date(unixSecs * 1000);
  const year = day.getFullYear() === new Date().getFullYear() ? undefined : 'numeric';
  return day.toLocaleDateString(undefined, { day: 'numeric', month: 'short', year });
}

/**
 * A text of the hub as a sentence: with a capital letter at the start, unless it starts with a quoted name,
 * and a full stop at the end.
 */
export function toSentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…:]$/.test(begun) || begun === '' ? begun : `${begun}.`;
}

/** A number with its noun: `1 reading`, `12 readings`. */
export function formatCount(count: number, one: string, many = `${one}s`): string {
  return `${formatNumber(count, 0)} ${count === 1 ? one : many}`;
}
