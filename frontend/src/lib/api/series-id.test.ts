import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { responseErrors } from '../../../mock/contract.ts';
import { backfill } from '../live/backfill';
import { Series } from '../live/series.svelte';
import { aReading } from '../live/testing';
import * as hub from './hub';
import { type SeriesId, seriesKey, seriesOf } from './series-id';

const NOW = 1_795_472_000;
const DEFAULT: SeriesId = { moduleId: 'attic', type: 'temperature', channel: null };
const SUPPLY: SeriesId = { ...DEFAULT, channel: 'supply' };

const requested: URL[] = [];

beforeEach(() => {
  requested.length = 0;
  vi.stubGlobal('fetch', (path: string) => {
    const url = new URL(path, 'http://hub');
    requested.push(url);
    // The first page of readings has another one, so that the averages before it are requested.
    const isReadings = url.pathname.startsWith('/api/sensors/') && !url.searchParams.has('bucket');
    const channel = url.searchParams.get('channel') || undefined;
    const items = isReadings ? [{ ...aReading(NOW), channel }] : [];
    const body = { items, next: isReadings ? 'more' : null };
    expect(responseErrors('GET', url, 200, body)).toEqual([]);
    return Promise.resolve(Response.json(body));
  });
});

afterEach(() => vi.unstubAllGlobals());

test('series that differ in module, type or channel have different keys', () => {
  const ids = [DEFAULT, SUPPLY, { ...SUPPLY, moduleId: 'led' }, { ...SUPPLY, type: 'humidity' }];

  expect(ids.map(seriesKey)).toEqual([
    'attic/temperature',
    'attic/temperature/supply',
    'led/temperature/supply',
    'attic/humidity/supply'
  ]);
});

test('a reading without a channel belongs to the default one', () => {
  const reading = { module_id: 'attic', type: 'temperature' };

  expect(seriesOf(reading)).toEqual(DEFAULT);
  expect(seriesOf({ ...reading, channel: 'supply' })).toEqual(SUPPLY);
});

/** The requests for one series. Without `channel`, the hub would send the readings of all channels. */
const REQUESTS: Readonly<Record<string, (series: SeriesId) => Promise<unknown>>> = {
  readings: (series) => hub.readings(series, { since: NOW }),
  buckets: (series) => hub.buckets(series, '1m', { since: NOW }),
  gaps: (series) => hub.gaps(series, { since: NOW }),
  'the missing history': async (id) => {
    const series = new Series(id);
    backfill(series, () => NOW);
    await vi.waitFor(() => expect(series.backfillSince).toBeNull());
    expect(requested).toHaveLength(2);
  }
};

test.each(Object.entries(REQUESTS))('a request for %s selects the channel of the series', async (_, send) => {
  await send(DEFAULT);
  const ofDefault = requested.splice(0);
  await send(SUPPLY);

  expect(new Set(ofDefault.map(({ searchParams }) => searchParams.get('channel')))).toEqual(new Set(['']));
  expect(new Set(requested.map(({ searchParams }) => searchParams.get('channel')))).toEqual(new Set(['supply']));
});

test.each(['csv', 'ndjson'] as const)('a file of one series as %s has no other channel', (format) => {
  const query = (series: SeriesId) =>
    Object.fromEntries(new URL(hub.exportUrl(series, format), 'http://hub').searchParams);

  expect(query(DEFAULT)).toEqual({ module_id: 'attic', channel: '', order: 'asc', format });
  expect(query(SUPPLY)).toEqual({ module_id: 'attic', channel: 'supply', order: 'asc', format });
});

test('the gaps of a module are those of all its series', async () => {
  await hub.gaps({ moduleId: 'attic' }, {});

  expect(Object.fromEntries(requested[0]?.searchParams ?? [])).toEqual({ module_id: 'attic', limit: '1000' });
});
