/** The texts of a camera's figures. */
import type { CameraInfo } from '../api/types';
import type { Percentiles } from '../live/frame-stats';
import { duration, number } from '../units/units';

/** Milliseconds up to a second, then seconds: `84 ms`, `1.4 s`. */
export function delay(seconds: number): string {
  const milliseconds = Math.round(seconds * 1000);
  return Math.abs(milliseconds) < 1000 ? `${number(milliseconds, 0)} ms` : `${number(seconds, 1)} s`;
}

/** On the badge: `Delay 14 ms`. */
export const delayBadge = ({ p50 }: Percentiles): string => `Delay ${delay(p50)}`;

/** Typical and worst delay: `1 ms typical, 5 ms worst 1 %`. */
export const delaysOf = ({ p50, p99 }: Percentiles): string => `${delay(p50)} typical, ${delay(p99)} worst 1 %`;

/** The tooltip of the badge: delay to this screen, and delay to the hub if the hub reports it. */
export function delayDetails(shown: Percentiles, info: CameraInfo | null, accuracySecs: number | null): string {
  const accuracy = accuracySecs === null ? '' : ` (clock accuracy ±${delay(accuracySecs)})`;
  const whole = `Delay to this screen: ${delaysOf(shown)}${accuracy}.`;
  const toHub = (info as Partial<CameraInfo> | null)?.latency;
  return toHub ? `${whole} Delay to hub: ${delaysOf(toHub)}.` : whole;
}

/** Painted frames a second: `12 fps`, `0.5 fps`. */
export const rate = (fps: number): string => `${number(fps, fps > 0 && fps < 9.95 ? 1 : 0)} fps`;

/** How old a picture is that should be newer: `3 s old`, `2 min old`. */
export const old = (seconds: number): string => `${duration(seconds < 60 ? seconds : seconds - (seconds % 60))} old`;
