/** Requests for recordings, one function for each route, and their types. */
import { hubUrl } from './url';
import { request, requestRaw } from './request';
import type { components } from './schema';
import type { Page } from './types';

type Schemas = components['schemas'];

export type RecordingMode = Schemas['RecordingMode'];
/** Starts a recording on an event: a reading above or below a value, or a command that succeeded. */
export type Trigger = Schemas['RecordingTrigger'];
export type RecordingSettings = Required<Schemas['RecordingSettings']>;
/** The settings and the current state. */
export type RecordingReport = Schemas['Recording'];
/** Frames recorded without a break. */
export type Clip = Schemas['Clip'];

/** From `since` (inclusive) to `until` (exclusive), in Unix seconds. */
export interface Range {
  since: number;
  until: number;
}

/** The hub sends at most this many frame times in one response. */
export const MAX_FRAME_TIMES = 10_000;
/** No more pages of clips are read for one day. */
const MAX_CLIP_PAGES = 5;

const at = (moduleId: string): string => `/api/cameras/${encodeURIComponent(moduleId)}`;

export const recording = (moduleId: string, signal?: AbortSignal): Promise<RecordingReport> =>
  request('GET', `${at(moduleId)}/recording`, { signal });

export const setRecording = (moduleId: string, settings: RecordingSettings): Promise<RecordingReport> =>
  request('PUT', `${at(moduleId)}/recording`, { body: settings });

/** Records for that many seconds in any mode; the hub stores the name of the caller. */
export const record = (moduleId: string, secs: number): Promise<RecordingReport> =>
  request('POST', `${at(moduleId)}/record`, { body: { secs } });

/** Ends a recording that `record` or an event started; a continuous recording or a time lapse continues. */
export const stopRecording = (moduleId: string): Promise<RecordingReport> =>
  request('DELETE', `${at(moduleId)}/record`);

/** Oldest first; `complete` is false when there were more than `MAX_CLIP_PAGES` pages. */
export async function clips(
  moduleId: string,
  { since, until }: Range,
  signal?: AbortSignal
): Promise<{ items: Clip[]; complete: boolean }> {
  const items: Clip[] = [];
  let cursor: string | undefined;
  for (let read = 0; read < MAX_CLIP_PAGES; read += 1) {
    const query = { since, until, limit: 1000, cursor };
    const page: Page<Clip> = await request('GET', `${at(moduleId)}/recordings`, { query, signal });
    items.push(...page.items);
    cursor = page.next ?? undefined;
    if (!cursor) return { items, complete: true };
  }
  return { items, complete: false };
}

/** The capture times of frames, oldest first; at most `MAX_FRAME_TIMES`. */
export async function frameTimes(moduleId: string, { since, until }: Range, signal?: AbortSignal): Promise<number[]> {
  const query = { since, until, limit: MAX_FRAME_TIMES };
  const page: Page<number> = await request('GET', `${at(moduleId)}/recordings/frames`, { query, signal });
  return page.items;
}

const framePath = (moduleId: string, time: number): string =>
  `${at(moduleId)}/recordings/frame?${new URLSearchParams({ at: String(time), pick: 'nearest' })}`;

/** The URL of the recorded frame nearest to that time. */
export const frameUrl = (moduleId: string, time: number): string => hubUrl(framePath(moduleId, time));

export type ExportFormat = 'avi' | 'zip';

/** The URL of a file with the frames of a range. */
export function recordedUrl(moduleId: string, { since, until }: Range, format: ExportFormat): string {
  const query = new URLSearchParams({ since: String(since), until: String(until), format });
  return hubUrl(`${at(moduleId)}/recordings/export?${query}`);
}

/** The recorded JPEG nearest to that time, and its capture time. */
export async function recordedFrame(moduleId: string, time: number, signal: AbortSignal): Promise<Recorded> {
  const response = await requestRaw('GET', framePath(moduleId, time), { signal });
  return { jpeg: await response.blob(), capturedAt: secondsOf(response.headers.get('x-timestamp')) ?? time };
}

/** A JPEG and its capture time (Unix seconds by the hub's clock). */
export interface Recorded {
  jpeg: Blob;
  capturedAt: number;
}

/** Reads Unix seconds or an RFC 3339 time; `null` for anything else. */
export function secondsOf(stamp: string | null): number | null {
  if (!stamp) return null;
  const seconds = Number(stamp);
  if (Number.isFinite(seconds)) return seconds;
  const moment = Date.parse(stamp) / 1000;
  return Number.isFinite(moment) ? moment : null;
}
