/** Texts of the storage page. */
import type { DeviceKind, RetentionReport, StorageReport } from '../api/types';
import { formatCount, toSentence } from '../units/names';
import { formatNumber } from '../units/units';

const DEVICES: Record<DeviceKind, string> = {
  sd: 'SD card',
  emmc: 'eMMC',
  ssd: 'SSD',
  hdd: 'HDD',
  unknown: 'disk'
};

export const deviceName = (kind: DeviceKind): string => DEVICES[kind];

/** An interval in hours, as days when it is a whole number of them: `7 days`, `36 hours`. */
export const formatHours = (hours: number): string =>
  hours >= 24 && hours % 24 === 0 ? formatCount(hours / 24, 'day') : formatCount(hours, 'hour');

/** `18 years`, `1.4 years`, `Over 100 years`: a forecast is not more precise. */
export function years(count: number | null | undefined): string {
  if (count == null) return 'Not yet known';
  if (count > 100) return 'Over 100 years';
  return `${formatNumber(count, count < 10 ? 1 : 0)} years`;
}

/** The used part of the rated endurance, 0 to 1; `null` when it is not known. */
export function enduranceUsed({ written_total_bytes, endurance_bytes }: StorageReport): number | null {
  if (written_total_bytes == null || endurance_bytes <= 0) return null;
  return Math.min(1, written_total_bytes / endurance_bytes);
}

/** A fraction in per cent; a small one is never shown as zero. */
export function percent(share: number): string {
  if (share > 0 && share < 0.001) return 'less than 0.1 %';
  return `${formatNumber(share * 100, 1)} %`;
}

/** The kinds of data, each with its own retention time. */
export const KINDS = [
  ['readings', 'Readings'],
  ['minutes', 'Minute averages'],
  ['hours', 'Hourly averages'],
  ['days', 'Daily averages']
] as const satisfies readonly (readonly [keyof RetentionReport, string])[];

/** The number of records of all kinds that were, or would be, deleted. */
export const deletedCount = (report: RetentionReport): number =>
  KINDS.reduce((sum, [kind]) => sum + report[kind].gone, 0);

/** The result of the newest deletion, or of a preview. */
export function describeRetention(report: RetentionReport): string {
  const deleted = deletedCount(report);
  if (report.refused) return `Nothing was deleted: ${report.refused.replace(/\.$/, '')}.`;
  if (report.dry_run) return deleted === 0 ? 'Nothing to delete.' : `${formatCount(deleted, 'record')} to delete.`;
  return deleted === 0 ? 'Nothing to delete.' : `Deleted ${formatCount(deleted, 'record')}.`;
}

/** The alarms shown on every page as sentences, a full disk first. Empty without problems. */
export function storageAlarms(report: StorageReport | null): string[] {
  if (!report) return [];
  const full = report.full && !report.problems.some((problem) => problem.includes('disk is full'));
  const all = full
    ? ['The disk is full. New readings are refused until space is free.', ...report.problems]
    : report.problems;
  return all.map(toSentence);
}
