import { describe, expect, test } from 'vitest';
import type { RecordingSettings } from '../api/recording';
import { aModule } from '../live/testing';
import {
  toDateInput,
  triggerOptions,
  toDateTimeInput,
  describeKept,
  parseDateTimeInput,
  describeSettings,
  describeTrigger,
  describeTriggerOption
} from './format';
import { formatBytes } from '../units/units';

const SETTINGS: RecordingSettings = {
  mode: 'off',
  every_secs: 60,
  before_secs: 5,
  after_secs: 30,
  keep_days: 7,
  keep_bytes: 1e10,
  triggers: []
};

test('the settings are a sentence', () => {
  expect(describeSettings({ ...SETTINGS, mode: 'time_lapse' })).toBe('One frame every 1 min.');
  expect(describeSettings({ ...SETTINGS, mode: 'on_event' })).toBe('From 5 s before to 30 s after each event.');
  expect(describeSettings({ ...SETTINGS, mode: 'continuous' })).toBe('Every frame of the camera.');
});

test('the recorded frames are shown with their size', () => {
  const rest = {
    recording: false,
    event_until: null,
    paused: null,
    frames: 0,
    bytes: 0,
    oldest_at: null,
    newest_at: null,
    skipped: 0
  };
  const nothing = { ...SETTINGS, ...rest };

  expect(describeKept(nothing)).toBe('No recordings yet. Kept for 7 days, at most 10 GB.');
  expect(describeKept({ ...nothing, recording: true })).toBe(
    'The first frames are being saved. Kept for 7 days, at most 10 GB.'
  );
  expect(describeKept({ ...nothing, frames: 1, bytes: 2048, keep_days: 0 })).toBe(
    '1 frame, 2 kB. Kept forever, at most 10 GB.'
  );
  expect([0, 999, 75_400_000, 1e10, 2.54e9].map(formatBytes)).toEqual(['0 B', '999 B', '75 MB', '10 GB', '2.54 GB']);
});

test('a trigger is described with its module', () => {
  expect(describeTrigger({ module_id: 'door', type: 'motion', above: 0.5 })).toBe('Motion of door above 0.5');
  expect(describeTrigger({ module_id: 'attic', type: 'temperature', above: 1, below: 3 })).toBe(
    'Temperature of attic above 1 and below 3'
  );
  expect(describeTrigger({ module_id: 'led', action: 'on' })).toBe('When “on” on led succeeds');
});

test('measures and actions of modules are trigger options', () => {
  const door = aModule('door', {
    manifest: { measures: [{ type: 'motion', unit: 'boolean' }], actions: [{ name: 'open' }] }
  });

  expect(triggerOptions([door, aModule('script')])).toEqual([
    { module_id: 'door', type: 'motion' },
    { module_id: 'door', action: 'open' }
  ]);
});

test('a trigger on a channel is described with it', () => {
  expect(describeTrigger({ module_id: 'boiler', type: 'temperature', channel: 'supply', above: 60 })).toBe(
    'Temperature · supply of boiler above 60'
  );
});

test('a type with channels is a trigger option for any of them, and for each', () => {
  const temperature = { type: 'temperature', unit: 'celsius' };
  const measures = [temperature, { ...temperature, channel: 'supply' }, { ...temperature, channel: 'return' }];

  const options = triggerOptions([aModule('boiler', { manifest: { measures } })]);

  expect(options).toEqual([
    { module_id: 'boiler', type: 'temperature' },
    { module_id: 'boiler', type: 'temperature', channel: '' },
    { module_id: 'boiler', type: 'temperature', channel: 'supply' },
    { module_id: 'boiler', type: 'temperature', channel: 'return' }
  ]);
  expect(options.map((option) => describeTriggerOption(option, options))).toEqual([
    'Temperature of boiler, any channel',
    'Temperature, default channel, of boiler',
    'Temperature · supply of boiler',
    'Temperature · return of boiler'
  ]);
});

describe('the time of an input', () => {
  test('is read back to the second', () => {
    for (const moment of [0, 1_795_472_000, 1_782_000_001])
      expect(parseDateTimeInput(toDateTimeInput(moment + 0.7))).toBe(moment);
  });

  test('is null while it is incomplete', () => {
    expect(parseDateTimeInput('')).toBeNull();
    expect(parseDateTimeInput('2026-11-24T')).toBeNull();
  });

  test('is in local time', () => {
    expect(toDateInput(new Date(2026, 10, 24, 0, 5).getTime() / 1000)).toBe('2026-11-24');
  });
});
