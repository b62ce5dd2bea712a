/** Generated cameras, so that a wall has something to show. */
import type { CameraInfo, Module, WatchedCamera } from '../src/lib/api/types';
import type { Fixture } from './responses.ts';

const NAMES = [
  'front-door',
  'garden',
  'workshop',
  'attic-stairs',
  'driveway',
  'hen-house',
  'cellar',
  'nursery',
  'greenhouse',
  'bird-feeder',
  '3d-printer',
  'aquarium',
  'pantry',
  'gate',
  'roof'
];
/** These send no frames. */
const LOST: readonly string[] = ['workshop', 'gate'];
const LOST_SECS = 754;

/** That many cameras, as if recorded now. */
export function inventedCameras(count: number): Fixture {
  const recorded_at = Date.now() / 1000;
  const names = NAMES.slice(0, Math.max(0, count));
  const modules = names.map((id): Module => {
    const lost = LOST.includes(id);
    return {
      id,
      manifest: { version: '0.1.0', description: 'A camera', camera: { width: 640, height: 480, fps: 12 } },
      health: lost ? 'offline' : 'online',
      last_seen_at: recorded_at - (lost ? LOST_SECS : 0),
      registered_at: recorded_at - 86_400,
      state: null,
      state_at: null
    };
  });
  const cameras = names.map((module_id) => {
    const lost = LOST.includes(module_id);
    const at = recorded_at - (lost ? LOST_SECS : 0);
    return { module_id, online: !lost, fps: lost ? 0 : 12, taken_at: at, captured_at: at, received_at: at };
  });
  const answers = { 'GET /api/modules': { items: modules }, 'GET /api/cameras': { items: cameras } };
  return { recorded_at, answers };
}

/** A camera as events describe it: without its viewers and age, and with all fields. */
export function withDefaults(recorded: Partial<WatchedCamera>): CameraInfo {
  const camera = { ...recorded };
  delete camera.age;
  delete camera.watching;
  const at = camera.received_at ?? Date.now() / 1000;
  return {
    module_id: '',
    width: 640,
    height: 480,
    bytes: 16_439,
    fps: 12,
    viewers: 2,
    frames: 4200,
    delivered: 3900,
    skipped: 12,
    missing: 0,
    refused: 0,
    online: true,
    latency: { p50: 0.012, p99: 0.031 },
    taken_at: at,
    captured_at: at,
    received_at: at,
    ...camera
  };
}

/** The camera one second later. */
export function aSecondLater(camera: CameraInfo): CameraInfo {
  if (!camera.online) return camera;
  const at = Date.now() / 1000;
  const frames = camera.frames + 12;
  return { ...camera, frames, delivered: camera.delivered + 12, taken_at: at, captured_at: at, received_at: at };
}

/** The camera with its viewers. */
export function withViewers(camera: CameraInfo, since: number): WatchedCamera {
  const { delivered, skipped } = camera;
  return {
    ...camera,
    age: Date.now() / 1000 - camera.captured_at,
    watching: [
      { id: 1, via: 'recording', since: since - 4000, delivered: delivered + 40_000, skipped: 0 },
      { id: 4, via: 'live', since, delivered, skipped }
    ]
  };
}
