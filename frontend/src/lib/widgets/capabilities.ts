import { seriesKey } from '../api/series-id';
import type { ActionSpec, CameraInfo, CameraSpec, Measure, Module } from '../api/types';
import type { Series } from '../live/series.svelte';

/** One capability of a module that a widget can show. */
export type Capability =
  | {
      kind: 'measure';
      key: string;
      module: Module;
      measure: Measure;
      series: Series | null;
      /** Its place among the channels of the type; `null` if it is the only series of the type. */
      place: number | null;
    }
  | { kind: 'camera'; key: string; module: Module; spec: CameraSpec | null; info: CameraInfo | null }
  | { kind: 'action'; key: string; module: Module; action: ActionSpec };

export type CapabilityKind = Capability['kind'];
export type CapabilityOf<Kind extends CapabilityKind> = Extract<Capability, { kind: Kind }>;

/**
 * The capabilities of a module: those of its manifest, and those that it uses without declaring them (a plain
 * script has no manifest at all).
 */
export function capabilitiesOf(module: Module, series: readonly Series[], info: CameraInfo | undefined): Capability[] {
  const { id, manifest } = module;
  const undeclared = new Map(series.map((one) => [seriesKey(one), one]));
  const capabilities: Capability[] = [];
  if (manifest?.camera || info) {
    capabilities.push({
      kind: 'camera',
      key: `camera/${id}`,
      module,
      spec: manifest?.camera ?? null,
      info: info ?? null
    });
  }
  for (const action of manifest?.actions ?? []) {
    capabilities.push({ kind: 'action', key: `action/${id}/${action.name}`, module, action });
  }
  for (const measure of manifest?.measures ?? []) {
    const { type, channel = null } = measure;
    const key = seriesKey({ moduleId: id, type, channel });
    const known = undeclared.get(key) ?? null;
    undeclared.delete(key);
    capabilities.push({ kind: 'measure', key: `measure/${key}`, module, measure, series: known, place: null });
  }
  for (const [key, one] of undeclared) {
    // The unit is that of the newest reading. It is not read here: all tiles would be created again with
    // every reading.
    const measure = { type: one.type, channel: one.channel ?? undefined, unit: '' };
    capabilities.push({ kind: 'measure', key: `measure/${key}`, module, measure, series: one, place: null });
  }
  numberChannels(capabilities);
  return capabilities;
}

function numberChannels(capabilities: readonly Capability[]): void {
  const byType: Record<string, CapabilityOf<'measure'>[]> = {};
  for (const one of capabilities) if (one.kind === 'measure') (byType[one.measure.type] ??= []).push(one);
  for (const channels of Object.values(byType))
    if (channels.length > 1) channels.forEach((one, place) => (one.place = place));
}
