import { SvelteMap } from 'svelte/reactivity';
import { type SeriesId, seriesKey, seriesOf } from '../api/series-id';
import type { CameraInfo, Command, Module, Reading } from '../api/types';
import { Commands } from './commands.svelte';
import { MAX_RECENT_READINGS } from './protocol';
import { Series } from './series.svelte';

/** How many of the newest readings of each series a (re)connect brings: a short break needs no history request. */
export const RECENT = 60;

/** What the page knows of modules, series, cameras and commands. It holds what the hub sent, and nothing else. */
export class LiveStore {
  readonly modules = new SvelteMap<string, Module>();
  /** By {@link seriesKey}. */
  readonly series = new SvelteMap<string, Series>();
  readonly cameras = new SvelteMap<string, CameraInfo>();
  readonly commands: Commands;
  /** Whether at least one snapshot has arrived. */
  loaded = $state(false);

  /** `fetchCommand` asks the hub for one command. */
  constructor(fetchCommand: (id: string) => Promise<Command>) {
    this.commands = new Commands(fetchCommand);
  }

  /** Returns the series; creates it if it is new. */
  #seriesFor(id: SeriesId): Series {
    const key = seriesKey(id);
    let series = this.series.get(key);
    if (!series) {
      series = new Series(id);
      this.series.set(key, series);
    }
    return series;
  }

  addReadings(readings: readonly Reading[]): void {
    for (const reading of readings) this.#seriesFor(seriesOf(reading)).push(reading);
  }

  removeModule(id: string): void {
    this.modules.delete(id);
    this.cameras.delete(id);
    for (const [key, series] of this.series) if (series.moduleId === id) this.series.delete(key);
  }

  /** Replaces all modules and cameras, and adds the newest readings of each series. */
  applySnapshot(readings: readonly Reading[], modules: readonly Module[], cameras: readonly CameraInfo[]): void {
    const moduleIds = new Set(modules.map((module) => module.id));
    for (const id of [...this.modules.keys()]) if (!moduleIds.has(id)) this.removeModule(id);
    for (const module of modules) this.modules.set(module.id, module);
    const cameraIds = new Set(cameras.map((camera) => camera.module_id));
    for (const id of [...this.cameras.keys()]) if (!cameraIds.has(id)) this.cameras.delete(id);
    for (const camera of cameras) this.cameras.set(camera.module_id, camera);

    const groups = groupBySeries(readings);
    // With very many series the hub sends fewer readings of each; only a shorter list is complete.
    const limit = Math.min(RECENT, Math.floor(MAX_RECENT_READINGS / Math.max(1, groups.length)));
    for (const group of groups) this.#seriesFor(seriesOf(group[0])).pushRecent(group, group.length < limit);
    this.loaded = true;
  }
}

function groupBySeries(readings: readonly Reading[]): [Reading, ...Reading[]][] {
  const groups = new Map<string, [Reading, ...Reading[]]>();
  for (const reading of readings) {
    const key = seriesKey(seriesOf(reading));
    const group = groups.get(key);
    if (group) group.push(reading);
    else groups.set(key, [reading]);
  }
  return [...groups.values()];
}
