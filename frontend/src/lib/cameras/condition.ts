/** What is to be said about a camera's picture. */
import type { CameraInfo } from '../api/types';
import { isStale } from '../live/staleness';

/** Without frames for so long a camera is lost, where the hub does not say so itself. */
const LOST_SECS = 5;

/**
 * `none`: it never delivered. `waiting`: the first picture is on its way. `live`. `old`: the picture is older than those
 * of this camera usually get. `lost`: the camera delivers nothing. `away`: the connection to the hub is lost, and the
 * picture is the last one from before.
 */
export type Condition = 'none' | 'waiting' | 'live' | 'stale' | 'lost' | 'disconnected';

export interface Knowledge {
  info: CameraInfo | null;
  /** Whether the live connection stands. */
  connected: boolean;
  /** Whether the newest picture is the hub's own; `null` before the first. */
  noSignal: boolean | null;
  /** How old the picture is, in seconds; `null` while that is not more than usual. */
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

/** Whether the camera delivers, as far as the hub told. A hub of before says nothing of `online`. */
export function delivers(info: CameraInfo, now: number): boolean {
  return (info as Partial<CameraInfo>).online ?? now - info.received_at <= LOST_SECS;
}

/**
 * How old the newest picture of a camera is that comes as a stream, which does not say when its pictures were taken:
 * whole seconds since the hub got one, or `null` while that is not more than usual.
 */
export function streamedAge({ received_at, fps }: CameraInfo, now: number): number | null {
  const age = now - received_at;
  return isStale(age, fps > 0 ? 1 / fps : 1) ? Math.floor(age) : null;
}
