import { describe, expect, test } from 'vitest';
import type { CameraInfo, Manifest } from '../api/types';
import { Series } from '../live/series.svelte';
import { aModule, aReading } from '../live/testing';
import { capabilitiesOf } from './capabilities';
import { registry, widgetFor } from './registry';

const LAMP = {
  type: 'object',
  properties: { on: { type: 'boolean' }, brightness: { type: 'integer', minimum: 0, maximum: 100 } }
};

const widgetsOf = (manifest: Manifest | null, series: Series[] = [], camera?: CameraInfo) =>
  capabilitiesOf(aModule('attic', { manifest }), series, camera).map((capability) => [
    capability.key,
    widgetFor(capability)?.name
  ]);

describe('a capability of a manifest finds its widget:', () => {
  test('a measure is a sensor', () => {
    const manifest = { measures: [{ type: 'temperature', unit: 'celsius', every_secs: 5 }] };

    expect(widgetsOf(manifest)).toEqual([['measure/attic/temperature', 'sensor']]);
  });

  test('a camera is a camera', () => {
    expect(widgetsOf({ camera: { width: 640, height: 480, fps: 12 } })).toEqual([['camera/attic', 'camera']]);
  });

  test('an action that switches and dims is a lamp', () => {
    expect(widgetsOf({ actions: [{ name: 'set', params: LAMP }] })).toEqual([['action/attic/set', 'lamp']]);
  });

  test('a hazardous lamp is a form, which asks for confirmation', () => {
    const actions = [{ name: 'set', hazardous: true, params: LAMP }];

    expect(widgetsOf({ actions })).toEqual([['action/attic/set', 'action']]);
  });

  test('any other action is a form', () => {
    expect(widgetsOf({ actions: [{ name: 'reboot' }] })).toEqual([['action/attic/reboot', 'action']]);
  });
});

test('a module without a manifest shows the series it sends', () => {
  const series = new Series({ moduleId: 'attic', type: 'temperature', channel: null });
  series.push(aReading(1_795_472_000));

  const [capability] = capabilitiesOf(aModule('attic'), [series], undefined);

  expect(capability).toMatchObject({ kind: 'measure', measure: { type: 'temperature' }, series });
});

test('a declared measure and its readings are one tile', () => {
  const manifest = { measures: [{ type: 'temperature', unit: 'celsius' }] };
  const series = new Series({ moduleId: 'attic', type: 'temperature', channel: null });

  const capabilities = capabilitiesOf(aModule('attic', { manifest }), [series], undefined);

  expect(capabilities).toHaveLength(1);
  expect(capabilities[0]).toMatchObject({ series });
});

describe('several measures of one type', () => {
  const on = (channel: string | null) => new Series({ moduleId: 'attic', type: 'temperature', channel });
  const measures = [
    { type: 'temperature', unit: 'celsius' },
    { type: 'temperature', channel: 'supply', unit: 'celsius' },
    { type: 'temperature', channel: 'return', unit: 'celsius' }
  ];

  test('are one tile each, with the series of their channel', () => {
    const [first, supply, back] = [on(null), on('supply'), on('return')];

    const capabilities = capabilitiesOf(aModule('attic', { manifest: { measures } }), [back, first, supply], undefined);

    expect(capabilities.map((one) => one.kind === 'measure' && one.series)).toEqual([first, supply, back]);
    expect(capabilities.map(({ key }) => key)).toEqual([
      'measure/attic/temperature',
      'measure/attic/temperature/supply',
      'measure/attic/temperature/return'
    ]);
  });

  test('without a reading take no reading of another channel', () => {
    const supply = on('supply');

    const capabilities = capabilitiesOf(aModule('attic', { manifest: { measures } }), [supply], undefined);

    expect(capabilities.map((one) => one.kind === 'measure' && one.series)).toEqual([null, supply, null]);
  });

  test('are tiles of their own where the manifest does not declare them', () => {
    const undeclared = [on('supply'), on('return')];

    const capabilities = capabilitiesOf(aModule('attic'), undeclared, undefined);

    expect(capabilities.map((one) => one.kind === 'measure' && one.measure.channel)).toEqual(['supply', 'return']);
    expect(capabilities.map((one) => one.kind === 'measure' && one.series)).toEqual(undeclared);
  });
});

test('a module without capabilities has no tile', () => {
  expect(widgetsOf({})).toEqual([]);
});

test('every widget has a unique name', () => {
  const names = registry.map((widget) => widget.name);

  expect(new Set(names).size).toBe(names.length);
});
