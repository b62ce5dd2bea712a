/**
 * Records the responses and frames of a running hub as the fixtures of `npm run dev:mock`.
 *
 *     IOTPI_HUB=http://127.0.0.1:8000 IOTPI_TOKEN=iotpi_... npm run mock:record
 */
import { mkdir, writeFile } from 'node:fs/promises';

const hub = process.env.IOTPI_HUB ?? 'http://127.0.0.1:8000';
const token = process.env.IOTPI_TOKEN;
if (!token) throw new Error('IOTPI_TOKEN is not set: make one with `iotpi-hub token add --role viewer recorder`');

const FIXTURES = new URL('./fixtures/', import.meta.url);
const FRAMES = 12;
const headers = { authorization: `Bearer ${token}` };

/** @param {string} path */
async function get(path) {
  const response = await fetch(hub + path, { headers });
  if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
  return response;
}

const recorded_at = Date.now() / 1000;
/** @type {Record<string, any>} */
const answers = {};
for (const path of ['/api/modules', '/api/sensors', '/api/cameras', '/api/gaps', '/api/storage'])
  answers[`GET ${path}`] = await (await get(path)).json();
for (const { module_id, type, channel = '' } of answers['GET /api/sensors'].items) {
  const path = `/api/sensors/${type}?module_id=${module_id}&channel=${channel}&bucket=1m&since=${Math.floor(recorded_at - 3600)}&limit=1000`;
  answers[`GET ${path}`] = await (await get(path)).json();
}
await writeFile(new URL('recorded.json', FIXTURES), JSON.stringify({ recorded_at, answers }));

const camera = answers['GET /api/cameras'].items[0];
if (camera) {
  await mkdir(new URL('frames/', FIXTURES), { recursive: true });
  for (let at = 0; at < FRAMES; at += 1) {
    const picture = await get(`/api/camera/snapshot?module_id=${camera.module_id}`);
    const name = `frames/${String(at).padStart(2, '0')}.jpg`;
    await writeFile(new URL(name, FIXTURES), Buffer.from(await picture.arrayBuffer()));
    await new Promise((resolve) => setTimeout(resolve, 1000 / 12));
  }
}
console.log(`recorded ${Object.keys(answers).length} answers from ${hub}`);
