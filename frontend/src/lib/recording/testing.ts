import type { Clip } from '../api/recording';

/** A clip without a break, 1,000 bytes for each frame. */
export const aClip = (begun_at: number, ended_at: number, frames = Math.round((ended_at - begun_at) * 10)): Clip => ({
  id: String(begun_at),
  begun_at,
  ended_at,
  frames,
  bytes: frames * 1000,
  reason: 'continuous'
});
