/** How often a burst of readings of very many series updates the page. */
import { flushSync, tick } from 'svelte';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Reading } from '../api/types';
import { capabilitiesOf } from '../widgets/capabilities';
import { Live } from './live.svelte';
import { FakeHub, aModule, aReading, recent } from './testing';

const NOW = 1_795_472_000;
const MODULES = Array.from({ length: 60 }, (_, at) => `module-${at}`);
const TYPES = ['temperature', 'humidity', 'pressure'];
const ROUNDS = 5;

const readingsAt = (timestamp: number): Reading[] =>
  MODULES.flatMap((module_id) => TYPES.map((type) => ({ ...aReading(timestamp, 21, type), module_id })));

let hub: FakeHub;
let live: Live;
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers({ now: NOW * 1000 });
  hub = new FakeHub();
  live = new Live({ url: 'ws://hub/api/live', fetchCommand: () => Promise.reject(new Error('none')), open: hub.open });
  stop = live.start();
  hub.newest.accept();
  hub.newest.emit(recent({ modules: MODULES.map((id) => aModule(id)), readings: readingsAt(NOW - 60) }));
});

afterEach(() => {
  stop();
  vi.useRealTimers();
});

/** The page is updated after each message, as in a browser. */
async function emitBurst(): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const reading of readingsAt(NOW + round)) {
      hub.newest.emit({ type: 'reading', seq: 2, reading });
      await tick();
    }
  }
  vi.advanceTimersByTime(50);
  flushSync();
}

test('the capabilities of modules without a manifest are not computed again for new readings', async () => {
  let runs = 0;
  let capabilities = 0;
  const end = $effect.root(() => {
    $effect(() => {
      const series = [...live.series.values()];
      const ofModule = (id: string) => series.filter((one) => one.moduleId === id);
      capabilities = [...live.modules.values()].flatMap((module) =>
        capabilitiesOf(module, ofModule(module.id), undefined)
      ).length;
      runs += 1;
    });
  });
  flushSync();

  await emitBurst();

  expect(capabilities).toBe(MODULES.length * TYPES.length);
  expect(runs).toBe(1);
  end();
});

test('a burst of readings updates each value and each chart once', async () => {
  const values = new Map<string, number>();
  const charts = new Map<string, number>();
  const count = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);
  const end = $effect.root(() => {
    for (const [key, series] of live.series) {
      $effect(() => {
        if (series.newest) count(values, key);
      });
      $effect(() => {
        void series.version;
        count(charts, key);
      });
    }
  });
  flushSync();
  values.clear();
  charts.clear();

  await emitBurst();

  expect(new Set(values.values())).toEqual(new Set([1]));
  expect(new Set(charts.values())).toEqual(new Set([1]));
  expect([...live.series.values()].every((one) => one.newest?.timestamp === NOW + ROUNDS - 1)).toBe(true);
  end();
});

test('a burst of readings is applied before the event that follows it', () => {
  hub.newest.emit({ type: 'reading', seq: 2, reading: { ...aReading(NOW), module_id: 'module-0' } });
  hub.newest.emit({ type: 'module_removed', seq: 3, module_id: 'module-0' });

  vi.advanceTimersByTime(50);

  expect([...live.series.values()].filter((one) => one.moduleId === 'module-0')).toEqual([]);
});
