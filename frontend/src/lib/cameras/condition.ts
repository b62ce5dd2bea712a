/** What is to be said about a camera's picture. */
import type { CameraInfo } from '../api/types';

/** Without frames for so long a camera is lost, where the hub does not say so itself. */
const LOST_SECS = 5;

/**
 * `none`: it never delivered. `waiting`: the first picture is on its way. `live`. `lost`: the camera delivers nothing.
 * `away`: the hub is away, and the picture is what was last seen.
 */
export type Condition = 'none' | 'waiting' | 'live' | 'lost' | 'away';

export interface Knowledge {
  info: CameraInfo | null;
  /** Whether the live connection stands. */
  connected: boolean;
  /** Whether the newest picture is the hub's own; `null` before the first. */
  noSignal: boolean | null;
  /** The hub's time in Unix seconds. */
  now: number;
}

export function conditionOf({ info, connected, noSignal, now }: Knowledge): Condition {
  if (!info && noSignal !== false) return 'none';
  if (!connected) return 'away';
  if (noSignal !== null) return noSignal ? 'lost' : 'live';
  return info && delivers(info, now) ? 'waiting' : 'lost';
}

/** Whether the camera delivers, as far as the hub told. A hub of before says nothing of `online`. */
export function delivers(info: CameraInfo, now: number): boolean {
  return (info as Partial<CameraInfo>).online ?? now - info.received_at <= LOST_SECS;
}
