import { describe, expect, test } from 'vitest';
import type { RetentionReport, StorageReport } from '../api/types';
import { storageAlarms, percent, describeRetention, enduranceUsed, years } from './format';
import { formatBytes } from '../units/units';

const aReport = (rest: Partial<StorageReport> = {}): StorageReport => ({
  database_bytes: 1024,
  wal_bytes: 0,
  reusable_bytes: 0,
  free_bytes: 2 ** 30,
  low_water_bytes: 2 ** 28,
  full: false,
  written_total_bytes: 10 ** 12,
  endurance_bytes: 10 ** 13,
  device_kind: 'sd',
  commit_window_ms: 200,
  backup_every_hours: 168,
  problems: [],
  quarantined: [],
  ...rest
});

const aRemoval = (rest: Partial<RetentionReport> = {}): RetentionReport => ({
  at: 1_795_472_000,
  dry_run: false,
  readings: { gone: 1_200, of: 80_000 },
  minutes: { gone: 34, of: 900 },
  hours: { gone: 0, of: 15 },
  days: { gone: 0, of: 1 },
  ...rest
});

describe('the alarms of the storage', () => {
  test('are empty without problems, and before the first report', () => {
    expect(storageAlarms(aReport())).toEqual([]);
    expect(storageAlarms(null)).toEqual([]);
  });

  test('are the hub’s problems as sentences', () => {
    expect(storageAlarms(aReport({ problems: ['the backup failed: no space'] }))).toEqual([
      'The backup failed: no space.'
    ]);
  });

  test('start with a full disk, which is mentioned once', () => {
    const full = 'The disk is full. New readings are refused until space is free.';

    expect(storageAlarms(aReport({ full: true, problems: ['no backup'] }))).toEqual([full, 'No backup.']);
    expect(storageAlarms(aReport({ full: true, problems: [full] }))).toEqual([full]);
  });
});

describe('the used endurance', () => {
  test('is a fraction of the rated endurance', () => {
    expect(enduranceUsed(aReport())).toBe(0.1);
  });

  test('is null when writes are not counted', () => {
    expect(enduranceUsed(aReport({ written_total_bytes: null }))).toBeNull();
    expect(formatBytes(null)).toBe('–');
    expect(years(null)).toBe('Not yet known');
  });

  test.each([
    [1.44, '1.4 years'],
    [18, '18 years'],
    [4_000, 'Over 100 years']
  ])('forecast as %d reads %s', (forecast, text) => {
    expect(years(forecast)).toBe(text);
  });

  test('is never shown as zero when it is not', () => {
    expect(percent(0.000_01)).toBe('less than 0.1 %');
    expect(percent(0)).toBe('0.0 %');
  });
});

describe('a deletion', () => {
  test('says how many records were deleted', () => {
    expect(describeRetention(aRemoval())).toBe('Deleted 1\u202f234 records.');
  });

  test('as a preview says how many records it would delete', () => {
    expect(describeRetention(aRemoval({ dry_run: true }))).toBe('1\u202f234 records to delete.');
  });

  test('that was rejected says why', () => {
    expect(describeRetention(aRemoval({ refused: 'the clock is wrong' }))).toBe(
      'Nothing was deleted: the clock is wrong.'
    );
  });
});
