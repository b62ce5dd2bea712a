/** The checks that guard the fake hubs of these tests, and the mock, find the mistakes they exist for. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { responseErrors, messageErrors } from '../../../mock/contract.ts';
import { aModule, aReading } from './testing';

const NOW = 1_795_472_000;
const bucket = (start: number) => ({ module_id: 'attic', type: 'temperature', unit: 'celsius', start, missing: 0 });
const errorsOf = (path: string, items: unknown[], next: string | null = null) =>
  responseErrors('GET', new URL(path, 'http://hub'), 200, { items, next });

describe('a response', () => {
  test('of buckets is oldest first, of readings newest first', () => {
    const buckets = '/api/sensors/temperature?bucket=1m';

    expect(errorsOf(buckets, [bucket(NOW), bucket(NOW + 60)])).toEqual([]);
    expect(errorsOf(buckets, [bucket(NOW + 60), bucket(NOW)])).toHaveLength(1);
    expect(errorsOf('/api/sensors/temperature', [aReading(NOW + 1), aReading(NOW)])).toEqual([]);
    expect(errorsOf('/api/sensors/temperature', [aReading(NOW), aReading(NOW + 1)])).toHaveLength(1);
    expect(errorsOf('/api/sensors/temperature?order=asc', [aReading(NOW), aReading(NOW + 1)])).toEqual([]);
  });

  test('orders the channels of one time, newest first or oldest first', () => {
    const [first, second] = [aReading(NOW), { ...aReading(NOW), channel: 'supply' }];
    const [minute, another] = [bucket(NOW), { ...bucket(NOW), channel: 'supply' }];

    expect(errorsOf('/api/sensors', [first, second])).toEqual([]);
    expect(errorsOf('/api/sensors', [second, first])).toHaveLength(1);
    expect(errorsOf('/api/sensors/temperature', [second, first])).toEqual([]);
    expect(errorsOf('/api/sensors/temperature', [first, second])).toHaveLength(1);
    expect(errorsOf('/api/sensors/temperature?bucket=1m', [minute, another])).toEqual([]);
    expect(errorsOf('/api/sensors/temperature?bucket=1m', [another, minute])).toHaveLength(1);
  });

  test('has only items of the requested module and channel', () => {
    const gap = { module_id: 'attic', lost: 1, reason: 'full', since: NOW, until: NOW, recorded_at: NOW };
    const supply = { ...aReading(NOW), channel: 'supply' };
    const path = '/api/sensors/temperature?module_id=attic';

    expect(errorsOf(path, [supply, aReading(NOW)])).toEqual([]);
    expect(errorsOf(`${path}&channel=`, [aReading(NOW)])).toEqual([]);
    expect(errorsOf(`${path}&channel=`, [supply])).toEqual(['/items/0 is of another channel']);
    expect(errorsOf(`${path}&channel=supply`, [aReading(NOW)])).toEqual(['/items/0 is of another channel']);
    expect(errorsOf(path, [{ ...supply, module_id: 'led' }])).toEqual(['/items/0 is of another module']);
    // A gap of an unknown series may be one of any series.
    expect(errorsOf('/api/gaps?channel=supply', [gap])).toEqual([]);
    expect(errorsOf('/api/gaps?channel=supply', [{ ...gap, type: 'temperature' }])).toHaveLength(1);
  });

  test('has exactly the fields of the schema, with their types and values', () => {
    const path = '/api/modules';

    expect(errorsOf(path, [aModule('attic')])).toEqual([]);
    expect(errorsOf(path, [{ ...aModule('attic'), health: 'fine' }])).not.toEqual([]);
    expect(errorsOf(path, [{ ...aModule('attic'), room: 'hall' }])).toEqual(['/items/0/room is not a known field']);
    expect(errorsOf(path, [{ ...aModule('attic'), registered_at: undefined }])).not.toEqual([]);
    expect(errorsOf(path, [{ ...aModule('attic'), last_seen_at: String(NOW) }])).not.toEqual([]);
  });

  test('has times in seconds', () => {
    expect(errorsOf('/api/modules', [aModule('attic', { registered_at: NOW * 1000 })])).not.toEqual([]);
  });

  test('has no more items than the limit', () => {
    const two = [aModule('attic'), aModule('led')];

    expect(errorsOf('/api/modules?limit=1', two)).toHaveLength(1);
    expect(errorsOf('/api/modules?limit=2', two, 'more')).toEqual([]);
  });

  test('with an error is a problem document', () => {
    const url = new URL('http://hub/api/modules');

    expect(responseErrors('GET', url, 401, { error: 'who?' })).not.toEqual([]);
  });

  test('comes from an existing route', () => {
    expect(errorsOf('/api/rooms', [])).toEqual(['GET /api/rooms is not a route']);
  });
});

describe('a message', () => {
  test('of each kind is valid as the hub and its clients write it', () => {
    const golden = JSON.parse(
      readFileSync(new URL('../../../../iotpi-hub/tests/golden/live.json', import.meta.url), 'utf8')
    );

    for (const from of ['hub', 'client'] as const)
      for (const message of golden[from]) expect(messageErrors(from, message)).toEqual([]);
  });

  test('lacks no field and has no unknown one', () => {
    const reading = { type: 'reading', seq: 1, reading: JSON.parse(JSON.stringify(aReading(NOW))) };

    expect(messageErrors('hub', reading)).toEqual([]);
    expect(messageErrors('hub', { type: 'reading', reading: reading.reading })).toEqual(['seq is missing']);
    expect(messageErrors('hub', { ...reading, room: 'hall' })).toEqual(['room is not a known field']);
    expect(messageErrors('hub', { ...reading, reading: { ...reading.reading, value: 'warm' } })).not.toEqual([]);
    expect(messageErrors('client', { type: 'watch', cameras: 'front' })).not.toEqual([]);
    expect(messageErrors('client', { type: 'shout' })).not.toEqual([]);
  });
});
