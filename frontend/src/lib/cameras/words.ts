/** Figures of a camera as a person reads them. */
import type { CameraInfo } from '../api/types';
import type { Percentiles } from '../live/figures';
import { duration, number } from '../units/units';

/** Milliseconds up to a second, then seconds: `84 ms`, `1.4 s`. */
export function delay(seconds: number): string {
  const milliseconds = Math.round(seconds * 1000);
  return Math.abs(milliseconds) < 1000 ? `${number(milliseconds, 0)} ms` : `${number(seconds, 1)} s`;
}

/** On the badge: `84 ms · p99 120 ms`; the unit stands once when both have the same. */
export function latencyOf({ p50, p99 }: Percentiles): string {
  const [half, worst] = [delay(p50), delay(p99)];
  const [unit, other] = [half, worst].map((text) => text.split(' ')[1]);
  return `${half} · p99 ${unit === other ? worst.split(' ')[0] : worst}`;
}

/** What the badge means, and what the hub knows of the way to it. */
export function latencyMeans(shown: Percentiles, info: CameraInfo | null, doubtSecs: number | null): string {
  const doubt = doubtSecs === null ? '' : ` (clocks compared to within ${delay(doubtSecs)})`;
  const whole = `From capture to this screen: half of the pictures within ${delay(shown.p50)}, 99 % within ${delay(shown.p99)}${doubt}.`;
  const toHub = (info as Partial<CameraInfo> | null)?.latency;
  return toHub ? `${whole} Of that, camera to hub: ${delay(toHub.p50)}, 99 % within ${delay(toHub.p99)}.` : whole;
}

/** Painted frames a second: `12 fps`, `0.5 fps`. */
export const rate = (fps: number): string => `${number(fps, fps > 0 && fps < 9.95 ? 1 : 0)} fps`;

/** How old a picture is that should be newer: `3 s old`, `2 min old`. */
export const old = (seconds: number): string => `${duration(seconds < 60 ? seconds : seconds - (seconds % 60))} old`;
