/** The geometry of the timeline: positions of times, recorded parts, and labels. */
import type { Range, Clip } from '../api/recording';
import { TIME_STEPS } from '../charts/axis';

/** The space that a label such as `12:00` needs, in CSS pixels, and one such as `12:00:30`. */
const LABEL = 56;
const WITH_SECONDS = 84;

/**
 * The local day that contains that time, midnight to midnight; it may not be 24 hours long when the clocks
 * change.
 */
export function localDayOf(unixSecs: number, offsetDays = 0): Range {
  const day = new Date(unixSecs * 1000);
  const midnight = (days: number) =>
    new Date(day.getFullYear(), day.getMonth(), day.getDate() + offsetDays + days).getTime() / 1000;
  return { since: midnight(0), until: midnight(1) };
}

/** The part of the day of that length around the centre, never past its ends. */
export function zoomRange(day: Range, spanSecs: number, centre: number): Range {
  const span = Math.min(spanSecs, day.until - day.since);
  const since = Math.min(Math.max(centre - span / 2, day.since), day.until - span);
  return { since, until: since + span };
}

/** 0 at the left end, 1 at the right; outside of that below 0 or above 1. */
export const fractionAt = (time: number, view: Range): number => (time - view.since) / (view.until - view.since);

export const timeAt = (fraction: number, view: Range): number =>
  view.since + Math.min(1, Math.max(0, fraction)) * (view.until - view.since);

/** The bands to draw: the recorded parts as fractions of the view. Parts closer than a pixel are one band. */
export function timelineBands(clips: readonly Clip[], view: Range, pixels: number): { from: number; to: number }[] {
  const pixel = 1 / Math.max(1, pixels);
  const drawn: { from: number; to: number }[] = [];
  for (const clip of clips) {
    const from = Math.max(0, fractionAt(clip.begun_at, view));
    const to = Math.min(1, fractionAt(clip.ended_at, view));
    if (to < 0 || from > 1) continue;
    // Every band is end enough to be seen.
    const end = Math.min(1, Math.max(to, from + 2 * pixel));
    const last = drawn.at(-1);
    if (last && from - last.to < pixel) last.to = Math.max(last.to, end);
    else drawn.push({ from, to: end });
  }
  return drawn;
}

/** The times of the labels, as close as they fit, and the step between them (seconds). */
export function ticks(view: Range, pixels: number): { step: number; times: number[] } {
  const span = view.until - view.since;
  const step = TIME_STEPS.find((one) => (one / span) * pixels >= (one < 60 ? WITH_SECONDS : LABEL)) ?? 86_400;
  const times: number[] = [];
  // Whole steps of the local clock, counted from midnight.
  const { since: midnight } = localDayOf(view.since);
  for (let at = midnight + Math.ceil((view.since - midnight) / step) * step; at <= view.until; at += step)
    times.push(at);
  return { step, times };
}

/** The time itself if it was recorded, else the nearest recorded time; `null` without recordings. */
export function snapToClip(time: number, clips: readonly Clip[]): number | null {
  let best: number | null = null;
  for (const clip of clips) {
    const nearest = Math.min(Math.max(time, clip.begun_at), clip.ended_at);
    if (best === null || Math.abs(nearest - time) < Math.abs(best - time)) best = nearest;
  }
  return best;
}

/** The position after that many recorded seconds; gaps between clips are skipped. `null`: past the end. */
export function advance(time: number, secs: number, clips: readonly Clip[]): number | null {
  let at = time;
  let remaining = secs;
  for (const clip of clips) {
    const end = clip.ended_at;
    if (end <= at) continue;
    at = Math.max(at, clip.begun_at);
    if (at + remaining <= end) return at + remaining;
    remaining -= end - at;
    at = end;
  }
  return null;
}

/**
 * The position after a key press: arrows move by a hundredth of the view, page keys by a tenth, home and end
 * to the first and the last frame; `null` for any other key.
 */
export function seekTargetForKey(key: string, from: number, view: Range, clips: readonly Clip[]): number | null {
  const span = view.until - view.since;
  switch (key) {
    case 'ArrowLeft':
    case 'ArrowDown':
      return from - span / 100;
    case 'ArrowRight':
    case 'ArrowUp':
      return from + span / 100;
    case 'PageDown':
      return from - span / 10;
    case 'PageUp':
      return from + span / 10;
    case 'Home':
      return clips[0]?.begun_at ?? null;
    case 'End':
      return clips.at(-1)?.ended_at ?? null;
    default:
      return null;
  }
}

/** The recorded frames and bytes of the range; a clip that is cut counts in proportion. */
export function amountInRange(range: Range, clips: readonly Clip[]): { frames: number; bytes: number } {
  let [frames, bytes] = [0, 0];
  for (const clip of clips) {
    const length = clip.ended_at - clip.begun_at;
    const common = Math.min(range.until, clip.ended_at) - Math.max(range.since, clip.begun_at);
    if (common < 0) continue;
    const fraction = length > 0 ? common / length : 1;
    frames += clip.frames * fraction;
    bytes += clip.bytes * fraction;
  }
  return { frames: Math.round(frames), bytes: Math.round(bytes) };
}
