/** The condition of a camera on the page. */
import type { CameraInfo } from '../api/types';
import { isStale } from '../live/staleness';

/** A camera without frames for this long is lost, when the hub does not report `online`. */
const LOST_SECS = 5;

/**
 * `none`: the camera has never sent a frame. `waiting`: the first frame has not arrived yet. `live`. `stale`:
 * the frame is older than usual for this camera. `lost`: the camera sends nothing. `disconnected`: the
 * connection to the hub is lost, and the page shows the last frame.
 */
export type Condition = 'none' | 'waiting' | 'live' | 'stale' | 'lost' | 'disconnected';

export interface Knowledge {
  info: CameraInfo | null;
  /** Whether the live connection is open. */
  connected: boolean;
  /** Whether the newest frame is the hub's own "no signal" frame; `null` before the first. */
  noSignal: boolean | null;
  /** The age of the frame in seconds; `null` while it is not older than usual. */
  staleSecs: number | null;
  /** The hub's time in Unix seconds. */
  now: number;
}

export function conditionOf({ info, connected, noSignal, staleSecs, now }: Knowledge): Condition {
  if (!info && noSignal !== false) return 'none';
  if (!connected) return 'disconnected';
  if (noSignal) return 'lost';
  if (noSignal === false) return staleSecs === null ? 'live' : 'stale';
  return info && delivers(info, now) ? 'waiting' : 'lost';
}

/** Whether the camera sends frames, by the last report of the hub. An older hub does not report `online`. */
export function delivers(info: CameraInfo, now: number): boolean {
  return (info as Partial<CameraInfo>).online ?? now - info.received_at <= LOST_SECS;
}

/**
 * The age of the newest frame of an MJPEG stream, which has no timestamps: whole seconds since the hub
 * received one, or `null` while it is not older than usual.
 */
export function streamedAge({ received_at, fps }: CameraInfo, now: number): number | null {
  const age = now - received_at;
  return isStale(age, fps > 0 ? 1 / fps : 1) ? Math.floor(age) : null;
}
