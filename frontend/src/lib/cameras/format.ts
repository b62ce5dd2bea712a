/** Texts for the statistics of a camera. */
import type { CameraInfo } from '../api/types';
import type { Percentiles } from '../live/frame-stats';
import { formatDuration, formatNumber } from '../units/units';

/** Milliseconds up to a second, then seconds: `84 ms`, `1.4 s`. */
export function formatDelay(seconds: number): string {
  const milliseconds = Math.round(seconds * 1000);
  return Math.abs(milliseconds) < 1000 ? `${formatNumber(milliseconds, 0)} ms` : `${formatNumber(seconds, 1)} s`;
}

/** On the badge: `Delay 14 ms`. */
export const formatDelayBadge = ({ p50 }: Percentiles): string => `Delay ${formatDelay(p50)}`;

/** Typical and worst delay: `1 ms typical, 5 ms worst 1 %`. */
export const formatDelayPercentiles = ({ p50, p99 }: Percentiles): string =>
  `${formatDelay(p50)} typical, ${formatDelay(p99)} worst 1 %`;

/** The tooltip of the badge: delay to this screen, and delay to the hub if the hub reports it. */
export function describeDelay(shown: Percentiles, info: CameraInfo | null, accuracySecs: number | null): string {
  const accuracy = accuracySecs === null ? '' : ` (clock accuracy ±${formatDelay(accuracySecs)})`;
  const toScreen = `Delay to this screen: ${formatDelayPercentiles(shown)}${accuracy}.`;
  const toHub = (info as Partial<CameraInfo> | null)?.latency;
  return toHub ? `${toScreen} Delay to hub: ${formatDelayPercentiles(toHub)}.` : toScreen;
}

/** Painted frames per second: `12 fps`, `0.5 fps`. */
export const formatFps = (fps: number): string => `${formatNumber(fps, fps > 0 && fps < 9.95 ? 1 : 0)} fps`;

/** The age of a stale frame: `3 s old`, `2 min old`. */
export const formatAge = (seconds: number): string =>
  `${formatDuration(seconds < 60 ? seconds : seconds - (seconds % 60))} old`;
