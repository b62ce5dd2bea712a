/**
 * The page's own request functions, against the real hub and against the mock. Both keep to `openapi.json`,
 * the order of the reference and the golden live protocol, and their numbers have the same units: a mock once
 * repeated a mistake of the page, and every test was green.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { responseErrors, messageErrors } from '../mock/contract.ts';
import { FIRST_ADMIN_CODE } from '../mock/hub.ts';
import { startMockHub } from '../mock/serve.ts';
import * as hub from '../src/lib/api/hub';
import * as recording from '../src/lib/api/recording';
import type { Bucket, Reading } from '../src/lib/api/types';
import { SPANS } from '../src/lib/charts/spans';
import { readFrame } from '../src/lib/live/frame';
import { NAME, PASSWORD } from './login.ts';
import { type System, startSystem } from './system.ts';

const HOUR = 3600;
const DAY = 24 * HOUR;
const now = () => Math.floor(Date.now() / 1000);

interface Said {
  method: string;
  url: URL;
  status: number;
  body: unknown;
}

/** A hub, and its responses. */
class Side {
  readonly said: Said[] = [];
  readonly results = new Map<string, unknown>();
  cookie = '';
  readonly url: string;
  readonly code: string;

  constructor(url: string, code: string) {
    this.url = url;
    this.code = code;
  }

  /** For the page's functions, whose paths are relative to their origin. */
  readonly fetch: typeof fetch = async (path, init) => {
    const url = new URL(String(path), this.url);
    const answer = await plainFetch(url, { ...init, headers: { ...init?.headers, cookie: this.cookie } });
    const session = /iotpi_session=[^;]*/.exec(answer.headers.get('set-cookie') ?? '');
    if (session) this.cookie = session[0];
    const isJson = /json/.test(answer.headers.get('content-type') ?? '');
    const body: unknown = isJson ? await answer.clone().json() : undefined;
    this.said.push({ method: init?.method ?? 'GET', url, status: answer.status, body });
    return answer;
  };

  /** The last response of a route. */
  last<Body>(path: RegExp): Body {
    return this.said.findLast(({ url }) => path.test(url.pathname + url.search))?.body as Body;
  }
}

const plainFetch = globalThis.fetch;

/** Every function of the page that makes a request, in the order of a visit. */
const CALLS: Readonly<Record<string, (side: Side) => Promise<unknown>>> = {
  session: () => hub.session(),
  createFirstAdmin: ({ code }) => hub.createFirstAdmin(code, NAME, PASSWORD),
  logout: () => hub.logout(),
  login: () => hub.login(NAME, PASSWORD),
  modules: () => hub.modules(),
  cameras: () => hub.cameras(),
  storage: () => hub.storage(),
  readings: () => hub.readings('temperature', { moduleId: 'temperature', since: now() - HOUR, limit: 1000 }),
  buckets: () =>
    Promise.all(
      SPANS.flatMap(({ bucket, secs }) =>
        bucket
          ? [hub.buckets('temperature', bucket.width, { moduleId: 'temperature', since: now() - secs, limit: 2000 })]
          : []
      )
    ),
  gaps: () => hub.gaps('temperature', { type: 'temperature', since: now() - DAY }),
  control: () => hub.control('led', { action: 'set', params: { on: true, brightness: 40 } }, crypto.randomUUID()),
  command: ({ results }) => hub.command((results.get('control') as { id: string }).id),
  // The command was carried out meanwhile, or it is cancelled: both are valid responses.
  cancel: ({ results }) => hub.cancel((results.get('control') as { id: string }).id).catch(() => undefined),
  commandHistory: async () => {
    await hub.control('led', { action: 'set', params: { on: false } }, crypto.randomUUID());
    return hub.commandHistory('led', 20);
  },
  recording: () => recording.recording('camera'),
  setRecording: () =>
    recording.setRecording('camera', {
      mode: 'continuous',
      every_secs: 60,
      before_secs: 5,
      after_secs: 30,
      keep_days: 7,
      keep_bytes: 10_000_000_000,
      triggers: []
    }),
  record: () => recording.record('camera', 30),
  clips: () =>
    expect
      .poll(async () => (await recording.clips('camera', { since: now() - DAY, until: now() + 60 })).items.length)
      .toBeGreaterThan(0),
  frameTimes: () => recording.frameTimes('camera', { since: now() - 60, until: now() + 60 }),
  recordedFrame: () => recording.recordedFrame('camera', now(), new AbortController().signal),
  stopRecording: () => recording.stopRecording('camera'),
  retention: () => hub.retention(false),
  makeBackup: () => hub.makeBackup(),
  acknowledgeStorage: () => hub.acknowledgeStorage()
};

/** The names of the functions that make requests; those that only return a URL are left out. */
const requests = (functions: object): string[] =>
  Object.entries(functions)
    .filter(([name, value]) => typeof value === 'function' && !/Url$|^secondsOf$/.test(name))
    .map(([name]) => name);

let system: System;
let server: Server;
let mock: ReturnType<typeof startMockHub>;
const sides: { real?: Side; mock?: Side } = {};
const real = () => sides.real as Side;
const mocked = () => sides.mock as Side;

// The mock alone cannot be compared with anything.
describe.skipIf(process.env.IOTPI_DEMO === 'mock')('the mock', () => {
  beforeAll(async () => {
    mock = startMockHub({ MOCK_FIRST_ADMIN: '1' });
    server = createServer((request, response) => mock.answer(request, response, request.url ?? '/'));
    server.on('upgrade', mock.upgrade);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    sides.mock = new Side(`http://127.0.0.1:${port}`, FIRST_ADMIN_CODE);

    system = await startSystem();
    sides.real = new Side(system.url, system.firstAdminCode);
  });

  afterAll(async () => {
    globalThis.fetch = plainFetch;
    mock?.stop();
    server?.closeAllConnections();
    server?.close();
    await system?.stop();
  });

  test('is compared in every request of the page', () => {
    expect(Object.keys(CALLS).toSorted()).toEqual([...requests(hub), ...requests(recording)].toSorted());
  });

  describe.each([
    ['the real hub', real],
    ['the mock', mocked]
  ])('and %s', (_, side) => {
    test.each(Object.keys(CALLS))('answers %s as the schema says', async (name) => {
      globalThis.fetch = side().fetch;
      const before = side().said.length;
      if (name === 'modules')
        // Modules register one after the other, and measure then.
        await expect
          .poll(async () => (await hub.readings('temperature', { moduleId: 'temperature', since: 1e9 })).items.length)
          .toBeGreaterThan(2);

      const result = await (CALLS[name] as (side: Side) => Promise<unknown>)(side());

      side().results.set(name, result);
      const made = side().said.slice(before);
      expect(made.length).toBeGreaterThan(0);
      for (const { method, url, status, body } of made) {
        if (body === undefined && status === 200) continue; // a picture
        expect(responseErrors(method, url, status, body), `${method} ${url.pathname}${url.search}: ${status}`).toEqual(
          []
        );
      }
    });

    test.each([
      '/api/modules?',
      '/api/sensors?',
      '/api/sensors/temperature?module_id=temperature&since=1000000000&',
      '/api/modules/led/commands/history?',
      '/api/cameras/camera/recordings/frames?since=1000000000&until=4000000000&'
    ])('gives %s in pages', async (path) => {
      globalThis.fetch = side().fetch;
      const ask = async (query: string) => {
        const answer = await fetch(`${path}${query}`);
        const body = (await answer.json()) as { items: unknown[]; next: string | null };
        expect(responseErrors('GET', new URL(path + query, side().url), answer.status, body)).toEqual([]);
        return { status: answer.status, ...body };
      };

      const first = await ask('limit=1');
      const second = await ask(`limit=1&cursor=${encodeURIComponent(first.next ?? '')}`);
      const refused = await ask('limit=100000');

      expect(first.items).toHaveLength(1);
      expect(first.next).toEqual(expect.any(String));
      expect(second.items).toHaveLength(1);
      expect(second.items).not.toEqual(first.items);
      expect(refused.status).toBe(400);
    });

    test('sends only messages of the protocol on the live connection', async () => {
      const socket = new WebSocket(`${side().url.replace('http', 'ws')}/api/live`, {
        headers: { cookie: side().cookie }
      });
      const messages: { type: string; [name: string]: unknown }[] = [];
      const pictures: ReturnType<typeof readFrame>[] = [];
      socket.on('message', (data: Buffer, binary: boolean) => {
        if (binary) pictures.push(readFrame(new Uint8Array(data).buffer));
        else messages.push(JSON.parse(data.toString()));
      });
      await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
      const say = (message: object) => socket.send(JSON.stringify(message));

      say({ type: 'subscribe', recent: 5 });
      say({ type: 'time', client_time: Date.now() / 1000 });
      say({ type: 'watch', cameras: [{ module_id: 'camera', max_fps: 10 }] });
      const types = () => new Set(messages.map(({ type }) => type));
      await expect
        .poll(() => [...types()])
        .toEqual(expect.arrayContaining(['hello', 'recent', 'time', 'reading', 'camera']));
      await expect.poll(() => pictures.length).toBeGreaterThan(0);
      socket.close();

      for (const message of messages) expect(messageErrors('hub', message), JSON.stringify(message)).toEqual([]);
      const recent = messages.find(({ type }) => type === 'recent') as unknown as { readings: Reading[] };
      const nameOf = ({ module_id, type }: Reading) => `${module_id}/${type}`;
      for (const name of new Set(recent.readings.map(nameOf))) {
        const times = recent.readings.filter((one) => nameOf(one) === name).map(({ timestamp }) => timestamp);
        expect(times.length, name).toBeLessThanOrEqual(5);
        expect(times, name).toEqual(times.toSorted((a, b) => a - b));
      }
      const [picture] = pictures;
      expect(picture).toMatchObject({ moduleId: 'camera', noSignal: false });
      // Seconds, and by the hub's clock.
      expect(Math.abs((picture?.receivedAt ?? 0) - Date.now() / 1000)).toBeLessThan(60);
      expect((picture?.receivedAt ?? 0) - (picture?.capturedAt ?? 0)).toBeLessThan(60);
    });
  });

  test('answers each request with the status of the real hub', () => {
    const statuses = ({ said }: Side) =>
      new Map(
        said.map(({ method, url, status }) => [
          `${method} ${url.pathname}`.replace(/commands\/[0-9a-f-]{36}/, 'commands/ID'),
          status
        ])
      );
    const [there, here] = [statuses(real()), statuses(mocked())];

    expect([...here.keys()].toSorted()).toEqual([...there.keys()].toSorted());
    for (const [request, status] of there) {
      if (!request.endsWith('/cancel')) expect([request, here.get(request)]).toEqual([request, status]);
    }
  });

  test('has the units of the real hub', () => {
    const units = (side: Side) =>
      new Map(
        side.said
          .flatMap(({ body }) => (body as { items?: unknown[] } | undefined)?.items ?? [])
          .filter((item): item is Reading => typeof item === 'object' && item !== null && 'unit' in item)
          .map(({ module_id, type, unit }) => [`${module_id}/${type}`, unit])
      );
    const [there, here] = [units(real()), units(mocked())];
    const both = [...there.keys()].filter((name) => here.has(name));

    expect(both.length).toBeGreaterThanOrEqual(3);
    expect(both.map((name) => [name, here.get(name)])).toEqual(both.map((name) => [name, there.get(name)]));
  });

  test('has values, rates and delays of the same magnitude as the real hub', () => {
    const sizes = (side: Side) => {
      const [reading] = side.last<{ items: Reading[] }>(/sensors\/temperature\?.*limit=1000(&|$)/).items;
      const bucket = side.last<{ items: Bucket[] }>(/bucket=15m/).items.findLast(({ avg }) => avg != null);
      const [camera] = side
        .last<{ items: Awaited<ReturnType<typeof hub.cameras>> }>(/^\/api\/cameras\?/)
        .items.filter(({ module_id }) => module_id === 'camera');
      return {
        value: reading?.value,
        average: bucket?.avg,
        width: camera?.width,
        bytes: camera?.bytes,
        fps: camera?.fps,
        latency: camera?.latency?.p50
      };
    };
    const [there, here] = [sizes(real()), sizes(mocked())];

    for (const [name, value] of Object.entries(there)) {
      const ratio = Number(here[name as keyof typeof here]) / Number(value);
      // Milliseconds instead of seconds, or hectopascal instead of pascal, would be off by a hundred and
      // more.
      expect(ratio, `${name}: ${String(here[name as keyof typeof here])} for ${String(value)}`).toBeGreaterThan(1 / 60);
      expect(ratio, `${name}: ${String(here[name as keyof typeof here])} for ${String(value)}`).toBeLessThan(60);
    }
  });
});
