/**
 * Records the responses and frames of a real hub as the fixtures of the mock. It starts the demo for that, with a
 * module of three temperatures beside the demo's own:
 *
 *     npm run mock:record
 *
 * `IOTPI_DEMO` names the program; by default it is that of `make demo`, or else of `cargo build`.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const FIXTURES = new URL('./fixtures/', import.meta.url);
const FRAMES = 12;
const HOUR = 3600;
/** The modules and cameras of the demo. */
const DEMO = { modules: 4, cameras: 1 };
/** The channels of the module `boiler`, with a typical value. `undefined` is the default channel. */
const CHANNELS = /** @type {const} */ ([
  [undefined, 20],
  ['28-0316a2790c1b', 42],
  ['supply', 55]
]);

const programs = ['release', 'debug'].map((profile) => `../target/${profile}/iotpi-demo`);
const demo = process.env.IOTPI_DEMO ?? programs.find((path) => existsSync(path));
if (!demo) throw new Error('there is no iotpi-demo: run `cargo build`, or name it in IOTPI_DEMO');

const data = await mkdtemp(join(tmpdir(), 'iotpi-record-'));
const child = spawn(demo, ['--listen', '127.0.0.1:0', '--data', data], { stdio: ['ignore', 'pipe', 'ignore'] });
const exit = new Promise((resolve) => child.once('exit', resolve));

/** @type {Record<string, string>} */
const credentials = {};
let hub = '';

/**
 * @param {string} path
 * @param {RequestInit} [init]
 */
async function request(path, init = {}) {
  const response = await fetch(hub + path, { ...init, headers: { ...credentials, ...init.headers } });
  if (!response.ok) throw new Error(`${init.method ?? 'GET'} ${path}: ${response.status} ${await response.text()}`);
  return response;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 */
const send = (method, path, body) =>
  request(path, { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

/** @param {string} path */
const get = async (path) => (await request(path)).json();

/** Reads the address and the one-time code from the output of the demo. */
async function start() {
  /** @type {string | undefined} */
  let code;
  for await (const line of createInterface({ input: child.stdout })) {
    hub = /^hub: (http:\S+)/.exec(line)?.[1] ?? hub;
    code = /^first admin code: (\S+)/.exec(line)?.[1] ?? code;
    if (hub && code) break;
  }
  child.stdout.resume();
  const login = await send('POST', '/api/auth/first-admin', { code, name: 'anna', password: 'correct horse battery' });
  credentials.cookie = /iotpi_session=[^;]*/.exec(login.headers.get('set-cookie') ?? '')?.[0] ?? '';
  credentials.origin = hub;
}

/** Delivers an hour of three temperatures, with a gap. */
async function addBoiler() {
  const now = Math.floor(Date.now() / 1000);
  const unit = 'celsius';
  await send('PUT', '/api/modules/boiler', {
    version: '0.2.0',
    description: 'The temperatures of a heating system',
    measures: CHANNELS.map(([channel]) => ({ type: 'temperature', channel, unit, every_secs: 20 })),
    heartbeat_secs: 60,
    protocol: 1
  });
  const lost = { since: now - 700, until: now - 500 };
  for (const [channel, typical] of CHANNELS) {
    const times = Array.from({ length: HOUR / 20 }, (_, at) => now - HOUR + 20 * (at + 1));
    const readings = times.flatMap((timestamp) =>
      channel !== '28-0316a2790c1b' && timestamp > lost.since && timestamp < lost.until
        ? []
        : { module_id: 'boiler', channel, unit, timestamp, value: typical + Math.sin(timestamp / 300) }
    );
    await send('POST', '/api/sensors/temperature', readings);
  }
  const series = [undefined, 'supply'].map((channel) => ({ type: 'temperature', channel, lost: 9, ...lost }));
  await send('POST', '/api/modules/boiler/gaps', { epoch: 1, first_seq: 1, last_seq: 18, reason: 'full', series });
}

/** A stream can be opened once the camera has sent a frame. */
async function waitForCamera() {
  while ((await get('/api/cameras')).items.length < DEMO.cameras) await sleep(100);
}

/** Waits until the modules of the demo have registered, measured and sent frames. */
async function waitForModules() {
  for (;;) {
    const [modules, sensors, cameras] = await Promise.all(
      ['/api/modules', '/api/sensors', '/api/cameras'].map(async (path) => (await get(path)).items)
    );
    const measured = new Set(sensors.map((/** @type {{module_id: string}} */ one) => one.module_id));
    const isReady = modules.length > DEMO.modules && measured.size >= 3 && cameras.length >= DEMO.cameras;
    // The rate and the delay of the camera are averages over some seconds.
    if (isReady && cameras[0].frames > 60) return;
    await sleep(250);
  }
}

/** Watches the camera until the returned function is called: without a viewer it sends one frame a second. */
async function watchCamera() {
  const viewer = new AbortController();
  const { body } = await request('/api/camera/stream?module_id=camera', { signal: viewer.signal });
  const drained = body?.pipeTo(new WritableStream()).catch(() => {});
  return async () => {
    viewer.abort();
    await drained;
  };
}

async function record() {
  const recorded_at = Date.now() / 1000;
  /** @type {Record<string, any>} */
  const answers = {};
  for (const path of ['/health', '/api/modules', '/api/sensors', '/api/cameras', '/api/gaps', '/api/storage'])
    answers[`GET ${path}`] = await get(path);
  for (const { module_id, type, channel = '' } of answers['GET /api/sensors'].items) {
    const since = Math.floor(recorded_at - HOUR);
    const path = `/api/sensors/${type}?module_id=${module_id}&channel=${channel}&bucket=1m&since=${since}&limit=1000`;
    answers[`GET ${path}`] = await get(path);
  }
  await writeFile(new URL('recorded.json', FIXTURES), JSON.stringify({ recorded_at, answers }));

  await mkdir(new URL('frames/', FIXTURES), { recursive: true });
  for (let at = 0; at < FRAMES; at += 1) {
    const picture = await request('/api/camera/snapshot?module_id=camera');
    const name = `frames/${String(at).padStart(2, '0')}.jpg`;
    await writeFile(new URL(name, FIXTURES), Buffer.from(await picture.arrayBuffer()));
    await sleep(1000 / 12);
  }
  console.log(`recorded ${Object.keys(answers).length} answers`);
}

try {
  await start();
  await addBoiler();
  await waitForCamera();
  const stopWatching = await watchCamera();
  await waitForModules();
  await record();
  await stopWatching();
} finally {
  child.kill('SIGTERM');
  await exit;
  await rm(data, { recursive: true, force: true });
}
