import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { responseErrors } from '../../../mock/contract.ts';
import { SPANS } from './spans';
import { SeriesGaps } from './gaps.svelte';
import { AggregatedSeries } from './aggregates.svelte';
import { StorageStatus } from './storage.svelte';

const NOW = 1_795_472_000;
const TEMPERATURE = { moduleId: 'attic', type: 'temperature', channel: null };
const [HOUR, DAY, , , YEAR] = SPANS;
const MINUTE = { module_id: 'attic', type: 'temperature', unit: 'celsius', missing: 0 };

/** As recorded from a real hub. */
const STORAGE = JSON.parse(readFileSync(new URL('../../../mock/fixtures/recorded.json', import.meta.url), 'utf8'))
  .answers['GET /api/storage'];

const requested: URL[] = [];
let responses: unknown[] = [];

const pageOf = (items: unknown[], next: string | null = null) => ({ items, next });

beforeEach(() => {
  requested.length = 0;
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  vi.stubGlobal('document', Object.assign(new EventTarget(), { hidden: false }));
  vi.stubGlobal('fetch', (url: string) => {
    requested.push(new URL(url, 'http://hub'));
    const response = responses.shift();
    if (response === undefined) return Promise.reject(new TypeError('network'));
    expect(responseErrors('GET', new URL(url, 'http://hub'), 200, response)).toEqual([]);
    return Promise.resolve(Response.json(response));
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe('an aggregated series', () => {
  test('has one point for each bucket, oldest first, its average in the middle of the bucket', async () => {
    responses = [
      pageOf([
        { ...MINUTE, start: NOW - 120, missing: 1 },
        { ...MINUTE, start: NOW - 60, avg: 21, min: 20, max: 22 }
      ])
    ];
    const aggregates = new AggregatedSeries();

    const stop = aggregates.start(TEMPERATURE, DAY, () => NOW);
    await vi.waitFor(() => expect(aggregates.known).toBe(true));
    stop();

    expect(aggregates.points).toEqual([
      { t: NOW - 90, v: null, span: 60, low: null, high: null },
      { t: NOW - 30, v: 21, span: 60, low: 20, high: 22 }
    ]);
    expect(Object.fromEntries(requested[0]?.searchParams ?? [])).toEqual({
      module_id: 'attic',
      channel: '',
      since: String(NOW - DAY.secs),
      limit: '2000',
      bucket: '1m',
      agg: 'avg,min,max'
    });
  });

  test('of a day is polled every minute, of a year every quarter of an hour', async () => {
    const stopDay = new AggregatedSeries().start(TEMPERATURE, DAY, () => NOW);
    const stopYear = new AggregatedSeries().start(TEMPERATURE, YEAR, () => NOW);

    vi.advanceTimersByTime(15 * 60_000);
    stopDay();
    stopYear();

    const widths = requested.map((url) => url.searchParams.get('bucket'));
    expect(widths.filter((width) => width === '1m')).toHaveLength(16);
    expect(widths.filter((width) => width === '1d')).toHaveLength(2);
  });

  test('of the live hour makes no requests', () => {
    new AggregatedSeries().start(TEMPERATURE, HOUR, () => NOW)();

    expect(requested).toEqual([]);
  });

  test('keeps its points when the hub does not respond, and reports why they are old', async () => {
    responses = [pageOf([{ ...MINUTE, start: NOW, avg: 21 }])];
    const aggregates = new AggregatedSeries();
    const stop = aggregates.start(TEMPERATURE, DAY, () => NOW);
    await vi.waitFor(() => expect(aggregates.known).toBe(true));

    vi.advanceTimersByTime(60_000);
    await vi.waitFor(() => expect(aggregates.problem).toBe('The hub does not respond.'));
    stop();

    expect(aggregates.points).toHaveLength(1);
  });
});

describe('the gaps of a series', () => {
  const gap = { module_id: 'attic', lost: 1, reason: 'full', since: NOW, until: NOW, recorded_at: NOW };

  test('are read to the last page', async () => {
    responses = [pageOf([gap], 'more'), pageOf([gap])];
    const seriesGaps = new SeriesGaps();

    const stop = seriesGaps.start(TEMPERATURE, 3600, () => NOW);
    await vi.waitFor(() => expect(seriesGaps.gaps).toHaveLength(2));
    stop();

    expect(seriesGaps.complete).toBe(true);
    expect(requested[1]?.searchParams.get('cursor')).toBe('more');
  });

  test('of another channel replace the ones of the series shown before', async () => {
    responses = [pageOf([{ ...gap, type: 'temperature' }])];
    const seriesGaps = new SeriesGaps();
    seriesGaps.start(TEMPERATURE, 3600, () => NOW)();
    await vi.waitFor(() => expect(requested).toHaveLength(1));
    responses = [pageOf([])];

    seriesGaps.start({ ...TEMPERATURE, channel: 'supply' }, 3600, () => NOW)();

    expect(seriesGaps.gaps).toEqual([]);
    expect(requested.map(({ searchParams }) => searchParams.get('channel'))).toEqual(['', 'supply']);
    expect(requested.map(({ searchParams }) => searchParams.get('type'))).toEqual(['temperature', 'temperature']);
  });

  test('are read up to a limit, and marked as incomplete', async () => {
    responses = Array.from({ length: 5 }, () => pageOf([gap], 'more'));
    const seriesGaps = new SeriesGaps();

    const stop = seriesGaps.start(TEMPERATURE, 3600, () => NOW);
    await vi.waitFor(() => expect(seriesGaps.gaps).toHaveLength(5));
    stop();

    expect(seriesGaps.complete).toBe(false);
  });
});

test('the last storage report stays when the hub does not respond', async () => {
  responses = [{ ...STORAGE, problems: ['no backup'] }];
  const watch = new StorageStatus();
  const stop = watch.start();
  await vi.waitFor(() => expect(watch.report).not.toBeNull());

  vi.advanceTimersByTime(60_000);
  await vi.waitFor(() => expect(watch.error).toBe('The hub does not respond.'));
  stop();

  expect(watch.report).toMatchObject({ problems: ['no backup'] });
});
