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
import { type SeriesId, seriesKey, seriesOf } from '../src/lib/api/series-id';
import type { Bucket, Reading } from '../src/lib/api/types';
import { SPANS } from '../src/lib/live/spans';
import { readFrame } from '../src/lib/live/frame';
import { NAME, PASSWORD } from './support/login.ts';
import { type System, startSystem } from './support/system.ts';

const HOUR = 3600;
const DAY = 24 * HOUR;
const now = () => Math.floor(Date.now() / 1000);

interface Exchange {
  method: string;
  url: URL;
  status: number;
  body: unknown;
}

/** A hub, and its responses. */
class HubClient {
  readonly exchanges: Exchange[] = [];
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
    const response = await plainFetch(url, { ...init, headers: { ...init?.headers, cookie: this.cookie } });
    const session = /iotpi_session=[^;]*/.exec(response.headers.get('set-cookie') ?? '');
    if (session) this.cookie = session[0];
    const isJson = /json/.test(response.headers.get('content-type') ?? '');
    const body: unknown = isJson ? await response.clone().json() : undefined;
    this.exchanges.push({ method: init?.method ?? 'GET', url, status: response.status, body });
    return response;
  };

  /** The last response of a route. */
  last<Body>(path: RegExp): Body {
    return this.exchanges.findLast(({ url }) => path.test(url.pathname + url.search))?.body as Body;
  }
}

const plainFetch = globalThis.fetch;

const TEMPERATURE: SeriesId = { moduleId: 'temperature', type: 'temperature', channel: null };

/** A module of the mock with several sensors of one type; the test delivers its readings to the real hub. */
const BOILER: SeriesId = { moduleId: 'boiler', type: 'temperature', channel: null };
const SUPPLY: SeriesId = { ...BOILER, channel: 'supply' };
const SERIAL: SeriesId = { ...BOILER, channel: '28-0316a2790c1b' };

/** Two readings of one time on each channel. */
async function recordChannels(url: string): Promise<void> {
  const since = now() - 120;
  const readings = [BOILER, SUPPLY, SERIAL].flatMap(({ moduleId, channel }) =>
    [since, since + 60].map((timestamp) => ({ module_id: moduleId, channel, value: 40, unit: 'celsius', timestamp }))
  );
  const response = await plainFetch(`${url}/api/sensors/${BOILER.type}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(readings)
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
}

/** Every function of the page that makes a request, in the order of a visit. */
const CALLS: Readonly<Record<string, (client: HubClient) => Promise<unknown>>> = {
  session: () => hub.session(),
  createFirstAdmin: ({ code }) => hub.createFirstAdmin(code, NAME, PASSWORD),
  logout: () => hub.logout(),
  login: () => hub.login(NAME, PASSWORD),
  modules: () => hub.modules(),
  cameras: () => hub.cameras(),
  storage: () => hub.storage(),
  readings: () => hub.readings(TEMPERATURE, { since: now() - HOUR, limit: 1000 }),
  buckets: () =>
    Promise.all(
      SPANS.flatMap(({ bucket, secs }) =>
        bucket ? [hub.buckets(TEMPERATURE, bucket.width, { since: now() - secs, limit: 2000 })] : []
      )
    ),
  gaps: () => Promise.all([hub.gaps(TEMPERATURE, { since: now() - DAY }), hub.gaps({ moduleId: 'temperature' }, {})]),
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
      triggers: [{ module_id: 'boiler', type: 'temperature', channel: 'supply', above: 90 }]
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

/** Free-form JSON, which belongs to a module. */
const FREE = /\.(params|state|result|context)$/;

/** The paths of all fields of a value; the items of lists are merged. */
function fieldsOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((one) => fieldsOf(one, `${path}[]`));
  if (typeof value !== 'object' || value === null || FREE.test(path)) return [];
  return Object.entries(value).flatMap(([name, inner]) => [`${path}.${name}`, ...fieldsOf(inner, `${path}.${name}`)]);
}

/** The fields of the successful responses of a hub, by request. */
function fieldsOfAll({ exchanges }: HubClient): Map<string, string[]> {
  const fields = new Map<string, string[]>();
  for (const { method, url, status, body } of exchanges) {
    if (status >= 400 || body === undefined) continue;
    const request = `${method} ${url.pathname}`.replace(/commands\/[0-9a-f-]{36}/, 'commands/ID');
    const all = [...(fields.get(request) ?? []), ...fieldsOf(body)];
    fields.set(request, [...new Set(all)].toSorted());
  }
  return fields;
}

let system: System;
let server: Server;
let mockServer: ReturnType<typeof startMockHub>;
const clients: { real?: HubClient; mock?: HubClient } = {};
const real = () => clients.real as HubClient;
const mocked = () => clients.mock as HubClient;

// The mock alone cannot be compared with anything.
describe.skipIf(process.env.IOTPI_DEMO === 'mock')('the mock', () => {
  beforeAll(async () => {
    mockServer = startMockHub({ MOCK_FIRST_ADMIN: '1' });
    server = createServer((request, response) => mockServer.respond(request, response, request.url ?? '/'));
    server.on('upgrade', mockServer.upgrade);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    clients.mock = new HubClient(`http://127.0.0.1:${port}`, FIRST_ADMIN_CODE);

    system = await startSystem();
    clients.real = new HubClient(system.url, system.firstAdminCode);
    await recordChannels(system.url);
  });

  afterAll(async () => {
    globalThis.fetch = plainFetch;
    mockServer?.stop();
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
  ])('and %s', (_, client) => {
    test.each(Object.keys(CALLS))('answers %s as the schema says', async (name) => {
      globalThis.fetch = client().fetch;
      const before = client().exchanges.length;
      if (name === 'modules')
        // Modules register one after the other, and measure then.
        await expect
          .poll(async () => (await hub.readings(TEMPERATURE, { since: 1e9 })).items.length)
          .toBeGreaterThan(2);

      const result = await (CALLS[name] as (client: HubClient) => Promise<unknown>)(client());

      client().results.set(name, result);
      const newExchanges = client().exchanges.slice(before);
      expect(newExchanges.length).toBeGreaterThan(0);
      for (const { method, url, status, body } of newExchanges) {
        if (body === undefined && status === 200) continue; // a frame
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
      globalThis.fetch = client().fetch;
      const fetchPage = async (query: string) => {
        const response = await fetch(`${path}${query}`);
        const body = (await response.json()) as { items: unknown[]; next: string | null };
        expect(responseErrors('GET', new URL(path + query, client().url), response.status, body)).toEqual([]);
        return { status: response.status, ...body };
      };

      const first = await fetchPage('limit=1');
      const second = await fetchPage(`limit=1&cursor=${encodeURIComponent(first.next ?? '')}`);
      const refused = await fetchPage('limit=100000');

      expect(first.items).toHaveLength(1);
      expect(first.next).toEqual(expect.any(String));
      expect(second.items).toHaveLength(1);
      expect(second.items).not.toEqual(first.items);
      expect(refused.status).toBe(400);
    });

    test('answers a query for a module with the channels that it selects', async () => {
      globalThis.fetch = client().fetch;
      const channelsOf = async (path: string) => {
        const response = await fetch(path);
        const body = (await response.json()) as { items: Reading[] };
        expect(responseErrors('GET', new URL(path, client().url), response.status, body), path).toEqual([]);
        return [...new Set(body.items.map(({ channel }) => channel ?? ''))].toSorted();
      };
      const all = ['', '28-0316a2790c1b', 'supply'];

      for (const rest of ['', '&order=asc', `&bucket=1m&since=${now() - HOUR}`]) {
        const path = `/api/sensors/temperature?module_id=boiler&limit=1000${rest}`;

        expect(await channelsOf(path), path).toEqual(all);
        for (const channel of all) expect(await channelsOf(`${path}&channel=${channel}`), path).toEqual([channel]);
        expect(await channelsOf(`${path}&channel=return`), path).toEqual([]);
      }
    });

    test('answers the requests for one series with its channel alone', async () => {
      globalThis.fetch = client().fetch;

      for (const series of [BOILER, SUPPLY, SERIAL]) {
        const span = { since: now() - HOUR, limit: 1000 };
        const { items } = await hub.readings(series, span);
        const { items: buckets } = await hub.buckets(series, '1m', span);

        expect(new Set(items.map(seriesOf).map(seriesKey))).toEqual(new Set([seriesKey(series)]));
        expect(new Set(buckets.map(seriesOf).map(seriesKey))).toEqual(new Set([seriesKey(series)]));
      }
    });

    test('keeps the channel of a recording trigger', () => {
      expect(client().results.get('setRecording')).toMatchObject({
        triggers: [{ module_id: 'boiler', type: 'temperature', channel: 'supply', above: 90 }]
      });
    });

    test('sends only messages of the protocol on the live connection', async () => {
      const socket = new WebSocket(`${client().url.replace('http', 'ws')}/api/live`, {
        headers: { cookie: client().cookie }
      });
      const messages: Parameters<typeof messageErrors>[1][] = [];
      const frames: ReturnType<typeof readFrame>[] = [];
      socket.on('message', (data: Buffer, binary: boolean) => {
        if (binary) frames.push(readFrame(new Uint8Array(data).buffer));
        else messages.push(JSON.parse(data.toString()));
      });
      await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
      const send = (message: object) => socket.send(JSON.stringify(message));

      send({ type: 'subscribe', recent: 5 });
      send({ type: 'time', client_time: Date.now() / 1000 });
      send({ type: 'watch', cameras: [{ module_id: 'camera', max_fps: 10 }] });
      const types = () => new Set(messages.map(({ type }) => String(type)));
      await expect
        .poll(() => [...types()])
        .toEqual(expect.arrayContaining(['hello', 'recent', 'time', 'reading', 'camera']));
      await expect.poll(() => frames.length).toBeGreaterThan(0);
      socket.close();

      for (const message of messages) expect(messageErrors('hub', message), JSON.stringify(message)).toEqual([]);
      const recent = messages.find(({ type }) => type === 'recent') as unknown as { readings: Reading[] };
      const nameOf = (reading: Reading) => seriesKey(seriesOf(reading));
      for (const name of new Set(recent.readings.map(nameOf))) {
        const times = recent.readings.filter((one) => nameOf(one) === name).map(({ timestamp }) => timestamp);
        expect(times.length, name).toBeLessThanOrEqual(5);
        expect(times, name).toEqual(times.toSorted((a, b) => a - b));
      }
      const [picture] = frames;
      expect(picture).toMatchObject({ moduleId: 'camera', noSignal: false });
      // Seconds, and by the hub's clock.
      expect(Math.abs((picture?.receivedAt ?? 0) - Date.now() / 1000)).toBeLessThan(60);
      expect((picture?.receivedAt ?? 0) - (picture?.capturedAt ?? 0)).toBeLessThan(60);
    });
  });

  test('answers each request with the status of the real hub', () => {
    const statuses = ({ exchanges }: HubClient) =>
      new Map(
        exchanges.map(({ method, url, status }) => [
          `${method} ${url.pathname}`.replace(/commands\/[0-9a-f-]{36}/, 'commands/ID'),
          status
        ])
      );
    const [realValues, mockValues] = [statuses(real()), statuses(mocked())];

    expect([...mockValues.keys()].toSorted()).toEqual([...realValues.keys()].toSorted());
    for (const [request, status] of realValues) {
      if (!request.endsWith('/cancel')) expect([request, mockValues.get(request)]).toEqual([request, status]);
    }
  });

  test('has every field of the real hub', () => {
    const mockFields = fieldsOfAll(mocked());

    const missing = [...fieldsOfAll(real())]
      // A command that was carried out meanwhile is not cancelled.
      .filter(([request]) => mockFields.has(request) || !request.endsWith('/cancel'))
      .map(([request, fields]) => [request, fields.filter((one) => !mockFields.get(request)?.includes(one))] as const)
      .filter(([, fields]) => fields.length > 0);

    expect(missing).toEqual([]);
  });

  test('has the units of the real hub', () => {
    const units = (client: HubClient) =>
      new Map(
        client.exchanges
          .flatMap(({ body }) => (body as { items?: unknown[] } | undefined)?.items ?? [])
          .filter((item): item is Reading => typeof item === 'object' && item !== null && 'unit' in item)
          .map((item) => [seriesKey(seriesOf(item)), item.unit])
      );
    const [realValues, mockValues] = [units(real()), units(mocked())];
    const both = [...realValues.keys()].filter((name) => mockValues.has(name));

    expect(both.length).toBeGreaterThanOrEqual(3);
    expect(both.map((name) => [name, mockValues.get(name)])).toEqual(both.map((name) => [name, realValues.get(name)]));
  });

  test('has values, rates and delays of the same magnitude as the real hub', () => {
    const sizes = (client: HubClient) => {
      const [reading] = client.last<{ items: Reading[] }>(
        /sensors\/temperature\?module_id=temperature&.*limit=1000$/
      ).items;
      const bucket = client.last<{ items: Bucket[] }>(/bucket=15m/).items.findLast(({ avg }) => avg != null);
      const [camera] = client
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
    const [realValues, mockValues] = [sizes(real()), sizes(mocked())];

    for (const [name, value] of Object.entries(realValues)) {
      const ratio = Number(mockValues[name as keyof typeof mockValues]) / Number(value);
      // Milliseconds instead of seconds, or hectopascal instead of pascal, would be off by a hundred and
      // more.
      expect(
        ratio,
        `${name}: ${String(mockValues[name as keyof typeof mockValues])} for ${String(value)}`
      ).toBeGreaterThan(1 / 60);
      expect(
        ratio,
        `${name}: ${String(mockValues[name as keyof typeof mockValues])} for ${String(value)}`
      ).toBeLessThan(60);
    }
  });
});
