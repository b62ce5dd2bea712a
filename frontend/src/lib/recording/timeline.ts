/** A clip of time on the screen: where a moment stands, what was recorded, and what the marks say. */
import type { Range, Clip } from '../api/recording';
import { TIME_STEPS } from '../charts/axis';

/** The room a label such as `12:00` needs, in CSS pixels, and one such as `12:00:30`. */
const LABEL = 56;
const WITH_SECONDS = 84;

/** The local day that holds that moment, midnight to midnight; with the clocks changed it is not 24 hours long. */
export function localDayOf(unixSecs: number, offsetDays = 0): Range {
  const day = new Date(unixSecs * 1000);
  const midnight = (days: number) =>
    new Date(day.getFullYear(), day.getMonth(), day.getDate() + offsetDays + days).getTime() / 1000;
  return { since: midnight(0), until: midnight(1) };
}

/** So much of the day about the centre, never past its ends. */
export function zoomRange(day: Range, spanSecs: number, centre: number): Range {
  const span = Math.min(spanSecs, day.until - day.since);
  const since = Math.min(Math.max(centre - span / 2, day.since), day.until - span);
  return { since, until: since + span };
}

/** 0 at the left end, 1 at the right; outside the view less or more. */
export const fractionAt = (time: number, view: Range): number => (time - view.since) / (view.until - view.since);

export const timeAt = (fraction: number, view: Range): number =>
  view.since + Math.min(1, Math.max(0, fraction)) * (view.until - view.since);

/** What is drawn: the recorded parts of the view as shares of it. What is closer than a pixel is one band. */
export function timelineBands(clips: readonly Clip[], view: Range, pixels: number): { from: number; to: number }[] {
  const pixel = 1 / Math.max(1, pixels);
  const drawn: { from: number; to: number }[] = [];
  for (const clip of clips) {
    const from = Math.max(0, fractionAt(clip.begun_at, view));
    const to = Math.min(1, fractionAt(clip.ended_at, view));
    if (to < 0 || from > 1) continue;
    // However short, it can be seen.
    const wide = Math.min(1, Math.max(to, from + 2 * pixel));
    const last = drawn.at(-1);
    if (last && from - last.to < pixel) last.to = Math.max(last.to, wide);
    else drawn.push({ from, to: wide });
  }
  return drawn;
}

/** The times of the marks, as close as their labels allow, and how far apart they are (seconds). */
export function ticks(view: Range, pixels: number): { step: number; times: number[] } {
  const span = view.until - view.since;
  const step = TIME_STEPS.find((one) => (one / span) * pixels >= (one < 60 ? WITH_SECONDS : LABEL)) ?? 86_400;
  const times: number[] = [];
  // Whole steps of the local clock: formatCount from midnight.
  const { since: midnight } = localDayOf(view.since);
  for (let at = midnight + Math.ceil((view.since - midnight) / step) * step; at <= view.until; at += step)
    times.push(at);
  return { step, times };
}

/** The moment itself where something was recorded then, else the nearest that was; `null` when nothing was. */
export function snapToClip(time: number, clips: readonly Clip[]): number | null {
  let best: number | null = null;
  for (const clip of clips) {
    const near = Math.min(Math.max(time, clip.begun_at), clip.ended_at);
    if (best === null || Math.abs(near - time) < Math.abs(best - time)) best = near;
  }
  return best;
}

/** Where playing has come to after so many recorded seconds: what was not recorded is skipped. `null`: past the end. */
export function advance(time: number, secs: number, clips: readonly Clip[]): number | null {
  let at = time;
  let rest = secs;
  for (const clip of clips) {
    const end = clip.ended_at;
    if (end <= at) continue;
    at = Math.max(at, clip.begun_at);
    if (at + rest <= end) return at + rest;
    rest -= end - at;
    at = end;
  }
  return null;
}

/**
 * Where a key leads from a moment: arrows by a hundredth of what is seen, pages by a tenth, home and end to the first and
 * the last picture; `null` for a key that leads nowhere.
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

/** How much of the range was recorded: frames and bytes, in parts of the clips it cuts. */
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
