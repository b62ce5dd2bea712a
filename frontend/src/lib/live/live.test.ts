import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Command, CommandState } from '../api/types';
import { Live } from './live.svelte';
import { FakeHub, aCamera, aFrameMessage, aModule, aReading, recent } from './testing';

const NOW = 1_795_472_000;

const aCommand = (state: CommandState, id = 'c1'): Command => ({
  id,
  module_id: 'led',
  action: 'set',
  params: { on: true },
  state,
  issued_by: 'anna',
  created_at: NOW,
  expires_at: NOW + 60,
  attempts: 0,
  result: null
});

const aProblem = {
  type: 'urn:iotpi:problem:invalid_argument',
  kind: 'invalid_argument',
  title: 'Invalid argument',
  status: 400,
  detail: 'unknown message'
} as const;

describe('the live connection', () => {
  let hub: FakeHub;
  let live: Live;
  let stop: () => void;
  const fetchCommand = vi.fn<(id: string) => Promise<Command>>();
  const onRejected = vi.fn();

  beforeEach(() => {
    vi.useFakeTimers({ now: NOW * 1000 });
    fetchCommand.mockReset();
    onRejected.mockReset();
    hub = new FakeHub();
    // The longest delay of full jitter.
    live = new Live({ url: 'ws://hub/api/live', fetchCommand, open: hub.open, random: () => 1, onRejected });
    stop = live.start();
  });

  afterEach(() => {
    stop();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  function goLive(): void {
    hub.newest.accept();
    hub.newest.emit(recent({ modules: [aModule('attic')], readings: [aReading(NOW - 1)] }));
  }

  test('subscribes when it opens, and is live after the snapshot', () => {
    expect(live.state).toBe('connecting');

    hub.newest.accept();
    expect(hub.newest.sent[0]).toEqual({ type: 'subscribe', recent: 60 });
    expect(hub.newest.sentOf('subscribe')).toHaveLength(1);
    expect(live.state).toBe('connecting');

    hub.newest.emit(recent({ modules: [aModule('attic')] }));

    expect(live.state).toBe('live');
    expect([...live.modules.keys()]).toEqual(['attic']);
  });

  test('uses the hub’s time, not the browser’s', () => {
    hub.newest.onopen?.();
    hub.newest.emit({ type: 'hello', hub_time: NOW + 90, version: '0.1.0' });

    expect(live.skewSecs).toBeCloseTo(90);
  });

  test('improves its clock offset with every response', async () => {
    hub.newest.accept();
    await vi.advanceTimersByTimeAsync(40);
    const [{ client_time } = { client_time: NaN }] = hub.newest.sentOf('time');

    hub.newest.emit({ type: 'time', client_time, hub_time: NOW + 7.02 });

    expect(live.skewSecs).toBeCloseTo(7);
    expect(live.skewErrorSecs).toBeCloseTo(0.02);
  });

  test('reconnects after a loss, with longer delays each time', async () => {
    goLive();
    hub.newest.drop();
    expect(live.state).toBe('lost');

    for (const [attempt, wait] of [500, 1000, 2000, 4000].entries()) {
      expect(hub.sockets).toHaveLength(attempt + 1);
      await vi.advanceTimersByTimeAsync(wait - 1);
      expect(hub.sockets).toHaveLength(attempt + 1);
      await vi.advanceTimersByTimeAsync(1);
      expect(hub.sockets).toHaveLength(attempt + 2);
      hub.newest.drop();
    }
  });

  test('never waits longer than fifteen seconds, and resets the delay after a success', async () => {
    for (let attempt = 0; attempt < 12; attempt += 1) {
      hub.newest.drop();
      await vi.advanceTimersByTimeAsync(Math.min(15_000, 500 * 2 ** attempt));
    }
    expect(hub.sockets).toHaveLength(13);

    goLive();
    hub.newest.drop();
    await vi.advanceTimersByTimeAsync(500);

    expect(hub.sockets).toHaveLength(14);
  });

  test('reconnects at once when the network is back', () => {
    hub.newest.drop();

    live.retryNow();

    expect(hub.sockets).toHaveLength(2);
  });

  test('replaces its state after a reconnect: removed modules are removed', async () => {
    hub.newest.accept();
    hub.newest.emit(recent({ modules: [aModule('attic'), aModule('led')], readings: [aReading(NOW)] }));
    hub.newest.drop();
    await vi.advanceTimersByTimeAsync(500);

    hub.newest.accept();
    hub.newest.emit(recent({ seq: 0, modules: [aModule('led')] }));

    expect([...live.modules.keys()]).toEqual(['led']);
    expect([...live.series.keys()]).toEqual([]);
    expect(live.connections).toBe(2);
  });

  test('reports a rejected connection, so that an ended session is noticed', () => {
    hub.newest.drop();
    expect(onRejected).toHaveBeenCalledOnce();
  });

  test('reports at once that the hub closed it because the session is over', () => {
    goLive();
    hub.newest.drop(1008);
    expect(onRejected).toHaveBeenCalledOnce();
  });

  test('does not report a restarted hub as a rejection', () => {
    goLive();
    hub.newest.drop();
    expect(onRejected).not.toHaveBeenCalled();
  });

  test('is unresponsive when a probe after eight idle seconds has no response, and closed four seconds later', async () => {
    goLive();
    const first = hub.newest;
    const requested = first.sentOf('time').length;

    await vi.advanceTimersByTimeAsync(7_900);
    expect(first.sentOf('time')).toHaveLength(requested);
    await vi.advanceTimersByTimeAsync(100);
    expect(first.sentOf('time')).toHaveLength(requested + 1);
    expect(live.state).toBe('live');

    await vi.advanceTimersByTimeAsync(1_000);
    expect(live.state).toBe('unresponsive');
    expect(live.unresponsiveSecs).toBe(9);
    expect(live.hubUnreachable).toBe(true);

    await vi.advanceTimersByTimeAsync(3_000);
    expect(live.state).toBe('lost');
    expect(live.unresponsiveSecs).toBeNull();
    expect(first.closed).toBe(true);
  });

  test('is probed after three idle seconds while frames are expected', async () => {
    const unsubscribe = live.frames.subscribe({ moduleId: 'front', maxFps: null, take: () => {} });
    goLive();
    hub.newest.answerTime();
    const requested = hub.newest.sentOf('time').length;

    await vi.advanceTimersByTimeAsync(3_000);
    expect(hub.newest.sentOf('time')).toHaveLength(requested + 1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(live.state).toBe('unresponsive');
    await vi.advanceTimersByTimeAsync(3_000);

    expect(live.state).toBe('lost');
    unsubscribe();
  });

  test('stays open when the probe is answered, and is not unresponsive during a round trip', async () => {
    goLive();

    await vi.advanceTimersByTimeAsync(8_900);
    expect(live.state).toBe('live');
    hub.newest.answerTime();
    await vi.advanceTimersByTimeAsync(7_900);

    expect(live.state).toBe('live');
    expect(hub.sockets).toHaveLength(1);
  });

  test('is not closed for the time in which the page was busy and messages waited', async () => {
    goLive();
    await vi.advanceTimersByTimeAsync(8_000);
    const now = performance.now.bind(performance);
    const busy = vi.spyOn(performance, 'now').mockImplementation(() => now() + 20_000);

    await vi.advanceTimersByTimeAsync(500);
    expect(live.state).toBe('live');
    hub.newest.answerTime();
    await vi.advanceTimersByTimeAsync(5_000);

    expect(live.state).toBe('live');
    expect(hub.sockets).toHaveLength(1);
    busy.mockRestore();
  });

  test('is live again with the first message after it was unresponsive', async () => {
    goLive();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(live.state).toBe('unresponsive');

    hub.newest.emit({ type: 'reading', seq: 9, reading: aReading(NOW) });

    expect(live.state).toBe('live');
    expect(live.unresponsiveSecs).toBeNull();
    expect(live.connections).toBe(1);
  });

  test('is retried when it does not open within ten seconds', async () => {
    await vi.advanceTimersByTimeAsync(9_900);
    expect(live.state).toBe('connecting');

    await vi.advanceTimersByTimeAsync(100);

    expect(live.state).toBe('lost');
  });

  test('gets a longer timeout after it was closed and reopened at once: frames are slow on it', async () => {
    const unsubscribe = live.frames.subscribe({ moduleId: 'front', maxFps: null, take: () => {} });
    const open = () => {
      goLive();
      hub.newest.answerTime();
    };
    open();
    await vi.advanceTimersByTimeAsync(7_000);
    expect(live.state).toBe('lost');
    await vi.advanceTimersByTimeAsync(500);
    open();

    await vi.advanceTimersByTimeAsync(10_500);
    expect(live.state).toBe('unresponsive');
    hub.newest.emitBinary(aFrameMessage());
    expect(live.state).toBe('live');
    await vi.advanceTimersByTimeAsync(10_500);
    expect(live.state).toBe('unresponsive');

    // Frames that arrive quickly reset that.
    hub.newest.emitBinary(aFrameMessage({ seq: 2 }));
    hub.newest.emitBinary(aFrameMessage({ seq: 3 }));
    await vi.advanceTimersByTimeAsync(7_000);
    expect(live.state).toBe('lost');
    unsubscribe();
  });

  test('ignores messages after it was stopped', () => {
    goLive();
    const socket = hub.newest;

    stop();

    expect(socket.closed).toBe(true);
    expect(socket.onmessage).toBeNull();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('stores modules, cameras and readings of events', () => {
    goLive();
    hub.newest.emit({ type: 'module', seq: 2, module: aModule('attic', { health: 'late' }) });
    hub.newest.emit({ type: 'camera', seq: 3, camera: aCamera('cam', { fps: 12 }) });
    hub.newest.emit({ type: 'reading', seq: 4, reading: aReading(NOW, 22.5) });
    vi.advanceTimersByTime(50);

    expect(live.modules.get('attic')?.health).toBe('late');
    expect(live.cameras.get('cam')?.fps).toBe(12);
    expect(live.series.get('attic/temperature')?.newest?.value).toBe(22.5);
    expect(live.series.get('attic/temperature')?.points).toHaveLength(2);

    hub.newest.emit({ type: 'module_removed', seq: 5, module_id: 'attic' });
    expect(live.modules.has('attic')).toBe(false);
    expect(live.series.size).toBe(0);
  });

  test('stores the readings of each channel as a series of its own', () => {
    const on = (channel: string | undefined, value: number) => ({ ...aReading(NOW, value), channel });
    hub.newest.accept();
    hub.newest.emit(
      recent({ modules: [aModule('attic')], readings: [on(undefined, 20), on('return', 42), on('supply', 55)] })
    );
    hub.newest.emit({ type: 'reading', seq: 2, reading: { ...on('supply', 56), timestamp: NOW + 1 } });
    vi.advanceTimersByTime(50);

    expect([...live.series].map(([key, { newest, points }]) => [key, newest?.value, points.length])).toEqual([
      ['attic/temperature', 20, 1],
      ['attic/temperature/return', 42, 1],
      ['attic/temperature/supply', 56, 2]
    ]);
    expect(live.series.get('attic/temperature/supply')?.channel).toBe('supply');

    hub.newest.emit({ type: 'module_removed', seq: 3, module_id: 'attic' });
    expect(live.series.size).toBe(0);
  });

  test('does not take a shortened list of readings for a complete one', () => {
    const types = Array.from({ length: 250 }, (_, at) => `series-${at}`);
    const forty = (type: string) => Array.from({ length: 40 }, (_, at) => aReading(NOW + at, 20, type));
    hub.newest.accept();

    hub.newest.emit(recent({ modules: [aModule('attic')], readings: [...types.flatMap(forty)] }));

    expect(live.series.size).toBe(250);
    expect(live.series.get('attic/series-0')?.backfillSince).toBe(-Infinity);
  });

  describe('frames', () => {
    const take = vi.fn();
    const cameras = () =>
      hub.newest.sentOf('watch').map((message) => message.cameras.map(({ module_id }) => module_id));

    beforeEach(() => take.mockReset());

    test('are requested as soon as the hub supports them', () => {
      const unsubscribe = live.frames.subscribe({ moduleId: 'front', maxFps: 10, take });
      goLive();
      expect(hub.newest.sentOf('watch')).toEqual([]);

      hub.newest.answerTime();
      hub.newest.emitBinary(aFrameMessage({ moduleId: 'front', seq: 7 }));

      expect(hub.newest.sentOf('watch')).toEqual([{ type: 'watch', cameras: [{ module_id: 'front', max_fps: 10 }] }]);
      expect(take).toHaveBeenCalledOnce();
      unsubscribe();
    });

    test('are requested again after the hub restarted', async () => {
      const unsubscribe = live.frames.subscribe({ moduleId: 'front', maxFps: null, take });
      goLive();
      hub.newest.answerTime();
      hub.newest.drop();
      expect(live.frames.supported).toBeNull();
      await vi.advanceTimersByTimeAsync(500);

      goLive();
      hub.newest.answerTime();

      expect(hub.sockets).toHaveLength(2);
      expect(cameras()).toEqual([['front']]);
      unsubscribe();
    });

    test('are not requested from a hub that rejects `time`, which is not sent again', async () => {
      goLive();

      hub.newest.emit({ type: 'problem', problem: aProblem });
      await vi.advanceTimersByTimeAsync(7_900);
      expect(hub.newest.sentOf('time')).toHaveLength(1);

      // Only the watchdog still sends `time`; the problem that the hub responses with counts as a response.
      await vi.advanceTimersByTimeAsync(200);
      hub.newest.emit({ type: 'problem', problem: aProblem });
      await vi.advanceTimersByTimeAsync(5_000);
      expect(live.frames.supported).toBe(false);
      expect(live.state).toBe('live');
    });

    test('of other cameras continue when one camera is unknown', () => {
      goLive();
      hub.newest.answerTime();

      hub.newest.emit({ type: 'problem', problem: aProblem });

      expect(live.frames.supported).toBe(true);
    });
  });

  describe('after a resync', () => {
    test('counts missed events and requests the unfinished commands', async () => {
      goLive();
      hub.newest.emit({ type: 'command', seq: 2, command: aCommand('queued', 'open') });
      hub.newest.emit({ type: 'command', seq: 3, command: aCommand('succeeded', 'done') });
      fetchCommand.mockResolvedValue(aCommand('succeeded', 'open'));

      hub.newest.emit({ type: 'resync', seq: 90, missed: 44 });
      hub.newest.emit(recent({ seq: 90, modules: [aModule('attic')] }));
      await vi.advanceTimersByTimeAsync(0);

      expect(live.missed).toBe(44);
      expect(fetchCommand.mock.calls).toEqual([['open']]);
      expect(live.commands.byId.get('open')?.state).toBe('succeeded');
    });

    test('knows that readings are missing when the newest ones do not overlap', () => {
      goLive();
      const series = live.series.get('attic/temperature');
      expect(series?.backfillSince).toBeNull();
      const sixty = Array.from({ length: 60 }, (_, at) => aReading(NOW + 100 + at));

      hub.newest.emit({ type: 'resync', seq: 90, missed: 150 });
      hub.newest.emit(recent({ seq: 90, modules: [aModule('attic')], readings: sixty }));

      expect(series?.backfillSince).toBe(NOW - 1);
    });
  });

  describe('a command', () => {
    test('is polled only while the connection is lost', async () => {
      goLive();
      hub.newest.emit({ type: 'command', seq: 2, command: aCommand('leased') });
      fetchCommand.mockResolvedValue(aCommand('leased'));
      hub.newest.drop();

      await vi.advanceTimersByTimeAsync(400);
      expect(fetchCommand).not.toHaveBeenCalled();
      await vi.advanceTimersByTimeAsync(2_000);
      expect(fetchCommand).toHaveBeenCalledOnce();

      goLive();
      const requested = fetchCommand.mock.calls.length;
      await vi.advanceTimersByTimeAsync(7_000);
      expect(fetchCommand).toHaveBeenCalledTimes(requested);
    });

    test('keeps the state of events that overtook the response', () => {
      goLive();
      hub.newest.emit({ type: 'command', seq: 2, command: aCommand('leased') });

      live.commands.addNew(aCommand('queued'));

      expect(live.commands.byId.get('c1')?.state).toBe('leased');
    });

    test('keeps its outcome when a late response arrives', () => {
      live.commands.put(aCommand('failed'));

      live.commands.put(aCommand('leased'));

      expect(live.commands.byId.get('c1')?.state).toBe('failed');
    });
  });
});
