/** What the hub says of its storage, in words. */
import type { DeviceKind, RetentionReport, StorageReport } from '../api/types';
import { counted } from '../units/names';
import { number, show } from '../units/units';

const DEVICES: Record<DeviceKind, string> = {
  sd: 'an SD card',
  emmc: 'an eMMC chip',
  ssd: 'an SSD',
  hdd: 'a hard disk',
  unknown: 'a device of unknown kind'
};

export const deviceOf = (kind: DeviceKind): string => DEVICES[kind];

/** `1.40 GiB`; a dash for what is not known. */
export function bytes(count: number | null | undefined): string {
  if (count == null) return '–';
  const { value, symbol } = show(count, 'bytes');
  return `${value} ${symbol}`;
}

/** `18 years`, `1.4 years`, `Over 100 years`: no forecast is better than that. */
export function years(count: number | null | undefined): string {
  if (count == null) return 'Not known yet';
  if (count > 100) return 'Over 100 years';
  return `${number(count, count < 10 ? 1 : 0)} years`;
}

/** How much of the device's endurance the hub has used up, 0 to 1; `null` when nobody counts. */
export function worn({ written_total_bytes, endurance_bytes }: StorageReport): number | null {
  if (written_total_bytes == null || endurance_bytes <= 0) return null;
  return Math.min(1, written_total_bytes / endurance_bytes);
}

/** A share in per cent, never a false zero. */
export function percent(share: number): string {
  if (share > 0 && share < 0.001) return 'less than 0.1 %';
  return `${number(share * 100, 1)} %`;
}

/** What is kept, and for how long is settled kind by kind. */
export const KINDS = [
  ['readings', 'Readings'],
  ['minutes', 'Summaries of minutes'],
  ['hours', 'Summaries of hours'],
  ['days', 'Summaries of days']
] as const satisfies readonly (readonly [keyof RetentionReport, string])[];

/** How much a removal takes of everything. */
export const removed = (report: RetentionReport): number => KINDS.reduce((sum, [kind]) => sum + report[kind].gone, 0);

/** What became of the newest removal, as a sentence. */
export function retentionOf(report: RetentionReport): string {
  const gone = removed(report);
  if (report.refused) return `Nothing was removed: ${report.refused}.`;
  if (report.dry_run) return gone === 0 ? 'Nothing is too old.' : `${counted(gone, 'record')} would be removed.`;
  return gone === 0 ? 'Nothing was too old.' : `${counted(gone, 'record')} were removed because they are old.`;
}

/** What to tell on every page: problems as sentences, and a full disk first. Nothing when all is well. */
export function alarmsOf(report: StorageReport | null): string[] {
  if (!report) return [];
  const full = report.full && !report.problems.some((problem) => problem.includes('disk is full'));
  const all = full
    ? ['the disk is full: readings are refused until there is room', ...report.problems]
    : report.problems;
  return all.map(sentence);
}

/** The hub's problems begin small and end without a stop. */
function sentence(problem: string): string {
  const begun = problem.charAt(0).toUpperCase() + problem.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
