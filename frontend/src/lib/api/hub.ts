/** The requests of the dashboard to the hub, one function for each route. */
import { hubUrl } from './url';
import { request } from './request';
import type { SeriesId } from './series-id';
import type {
  Bucket,
  Command,
  Gap,
  Module,
  NewCommand,
  Page,
  Reading,
  RetentionReport,
  Session,
  StorageReport,
  WatchedCamera
} from './types';

const id = encodeURIComponent;

interface Span {
  /** Unix seconds, inclusive. */
  since: number;
  /** Unix seconds, exclusive. */
  until?: number;
  /** At most 1,000, or 2,000 buckets. */
  limit?: number;
}

/** The parameters that select one series. An absent `channel` would select all channels, an empty one the default. */
const seriesQuery = ({ moduleId, channel }: SeriesId) => ({ module_id: moduleId, channel: channel ?? '' });

/** The newest readings of one series, newest first. */
export function readings(series: SeriesId, span: Span, signal?: AbortSignal): Promise<Page<Reading>> {
  const { since, until, limit } = span;
  return request('GET', `/api/sensors/${id(series.type)}`, {
    query: { ...seriesQuery(series), since, until, limit },
    signal
  });
}

export type Width = '1m' | '5m' | '15m' | '1h' | '6h' | '1d';

/** The aggregates of one series, oldest first, whatever order its readings have. */
export function buckets(series: SeriesId, width: Width, span: Span, signal?: AbortSignal): Promise<Page<Bucket>> {
  const { since, until, limit } = span;
  return request('GET', `/api/sensors/${id(series.type)}`, {
    query: { ...seriesQuery(series), since, until, limit, bucket: width, agg: 'avg,min,max' },
    signal
  });
}

/** The URL of a file with all readings of one series from `since` on (Unix seconds), oldest first. */
export function exportUrl(series: SeriesId, format: 'csv' | 'ndjson', since?: number): string {
  const query = new URLSearchParams({ ...seriesQuery(series), order: 'asc', format });
  if (since !== undefined) query.set('since', String(since));
  return hubUrl(`/api/sensors/${id(series.type)}?${query}`);
}

/** No more pages of gaps are read; `complete` says whether there were more. */
const MAX_GAP_PAGES = 5;

/** Readings of one series, or of all series of a module, that were lost; oldest gap first. */
export async function gaps(
  of: SeriesId | { moduleId: string },
  span: { since?: number; until?: number },
  signal?: AbortSignal
): Promise<{ items: Gap[]; complete: boolean }> {
  const selected = 'type' in of ? { ...seriesQuery(of), type: of.type } : { module_id: of.moduleId };
  const items: Gap[] = [];
  let cursor: string | undefined;
  for (let read = 0; read < MAX_GAP_PAGES; read += 1) {
    const query = { ...selected, ...span, limit: 1000, cursor };
    const page: Page<Gap> = await request('GET', '/api/gaps', { query, signal });
    items.push(...page.items);
    cursor = page.next ?? undefined;
    if (!cursor) return { items, complete: true };
  }
  return { items, complete: false };
}

/** Reads all pages of a list. */
async function allPages<Item>(path: string, signal?: AbortSignal): Promise<Item[]> {
  const all: Item[] = [];
  let cursor: string | undefined;
  do {
    const page: Page<Item> = await request('GET', path, { query: { limit: 1000, cursor }, signal });
    all.push(...page.items);
    cursor = page.next ?? undefined;
  } while (cursor);
  return all;
}

/** All modules, ordered by id. */
export const modules = (signal?: AbortSignal): Promise<Module[]> => allPages('/api/modules', signal);

/** All cameras that have sent a frame, with their viewers. */
export const cameras = (signal?: AbortSignal): Promise<WatchedCamera[]> => allPages('/api/cameras', signal);

/**
 * `key` identifies one press of a button: the hub takes a repeated request with the same key as one command.
 */
export const control = (moduleId: string, command: NewCommand, key: string): Promise<Command> =>
  request('POST', `/api/modules/${id(moduleId)}/control`, { body: command, headers: { 'Idempotency-Key': key } });

export const command = (commandId: string): Promise<Command> => request('GET', `/api/commands/${id(commandId)}`);

export const cancel = (commandId: string): Promise<Command> => request('POST', `/api/commands/${id(commandId)}/cancel`);

/** A module's commands, newest first. */
export const commandHistory = (moduleId: string, limit: number, signal?: AbortSignal): Promise<Page<Command>> =>
  request('GET', `/api/modules/${id(moduleId)}/commands/history`, { query: { limit }, signal });

export const storage = (signal?: AbortSignal): Promise<StorageReport> => request('GET', '/api/storage', { signal });

/** Dismisses the notice about damaged databases. */
export const acknowledgeStorage = (): Promise<void> => request('POST', '/api/storage/acknowledge');

/** Resolves when the backup is made and verified. */
export const makeBackup = (): Promise<void> => request('POST', '/api/storage/backup');

/** Reports the data that is older than its retention time; with `confirm` it is deleted. */
export const retention = (confirm: boolean): Promise<RetentionReport> =>
  request('POST', '/api/storage/retention', { body: { confirm } });

export const session = (fetch?: typeof globalThis.fetch): Promise<Session> =>
  request('GET', '/api/auth/session', { fetch });

export const login = (name: string, password: string): Promise<Session> =>
  request('POST', '/api/auth/login', { body: { name, password } });

export const logout = (): Promise<void> => request('POST', '/api/auth/logout');

/** `code` is the one-time code that the hub printed when it started. */
export const createFirstAdmin = (code: string, name: string, password: string): Promise<Session> =>
  request('POST', '/api/auth/first-admin', { body: { code, name, password } });

/** The URL of the camera's MJPEG stream. */
export const streamUrl = (moduleId: string): string => hubUrl(`/api/camera/stream?module_id=${id(moduleId)}`);

/** The URL of the camera's newest JPEG. */
export const snapshotUrl = (moduleId: string): string => hubUrl(`/api/camera/snapshot?module_id=${id(moduleId)}`);
