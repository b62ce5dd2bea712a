/** The page parses every message of the hub's golden live protocol (`iotpi-hub/tests/golden/live.json`). */
import { readFileSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import type { Reading } from '../api/types';
import { EventDispatcher, type EventHandlers } from './dispatcher';
import { readFrame } from './frame';
import type { LiveEvent } from './protocol';

const golden: { hub: LiveEvent[]; picture: Record<string, unknown> & { head: string } } = JSON.parse(
  readFileSync(new URL('../../../../iotpi-hub/tests/golden/live.json', import.meta.url), 'utf8')
);

/** A handler for each type of event; each passes what it was given to `onEvent`. */
const handlers = (onEvent: (event: unknown) => void): EventHandlers => ({
  hello: onEvent,
  recent: onEvent,
  reading: (readings: readonly Reading[]) => {
    for (const reading of readings) onEvent(reading);
  },
  module: onEvent,
  module_removed: onEvent,
  command: onEvent,
  camera: onEvent,
  resync: onEvent,
  time: onEvent,
  problem: onEvent
});

describe('a golden message', () => {
  test.each(golden.hub.map((event) => [event.type, event] as const))('%s reaches its handler', (_, event) => {
    const onEvent = vi.fn();
    const dispatcher = new EventDispatcher(handlers(onEvent));

    const known = dispatcher.dispatch(JSON.stringify(event));
    dispatcher.flush();

    expect(known).toBe(true);
    expect(onEvent.mock.calls).toEqual([[event.type === 'reading' ? event.reading : event]]);
  });

  test('exists for every handler', () => {
    const types = new Set(golden.hub.map(({ type }) => type));

    expect([...types].toSorted()).toEqual(Object.keys(handlers(() => {})).toSorted());
  });

  test('with a frame is read to its last field', () => {
    const { head, ...fields } = golden.picture;
    const jpeg = [0xff, 0xd8, 0xff, 0xd9];
    const message = Uint8Array.from([...head.split(' ').map((byte) => parseInt(byte, 16)), ...jpeg]).buffer;

    const frame = readFrame(message);

    expect({
      module_id: frame?.moduleId,
      seq: frame?.seq,
      no_signal: frame?.noSignal,
      captured_at: frame?.capturedAt,
      received_at: frame?.receivedAt
    }).toEqual(fields);
    expect([...(frame?.jpeg ?? [])]).toEqual(jpeg);
  });
});

test('a message of an unknown type is reported as unknown, and reaches no handler', () => {
  const onEvent = vi.fn();

  for (const type of ['rumour', 'constructor', 'toString']) {
    expect(new EventDispatcher(handlers(onEvent)).dispatch(JSON.stringify({ type }))).toBe(false);
  }

  expect(onEvent).not.toHaveBeenCalled();
});
