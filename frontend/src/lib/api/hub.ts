/** The hub's operations as the dashboard uses them, one function a route. */
import { hubUrl } from './url';
import { request } from './request';
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
  moduleId: string;
  /** Unix seconds, inclusive. */
  since: number;
  /** Unix seconds, exclusive. */
  until?: number;
  /** At most 1,000, or 2,000 buckets. */
  limit?: number;
}

/** The newest readings of one series, newest first. */
export function readings(type: string, span: Span, signal?: AbortSignal): Promise<Page<Reading>> {
  const { moduleId, since, until, limit } = span;
  return request('GET', `/api/sensors/${id(type)}`, {
    query: { module_id: moduleId, since, until, limit },
    signal
  });
}

export type Width = '1m' | '5m' | '15m' | '1h' | '6h' | '1d';

/** One series summed up, oldest first, whatever the order of its readings. */
export function buckets(type: string, width: Width, span: Span, signal?: AbortSignal): Promise<Page<Bucket>> {
  const { moduleId, since, until, limit } = span;
  return request('GET', `/api/sensors/${id(type)}`, {
    query: { module_id: moduleId, since, until, limit, bucket: width, agg: 'avg,min,max' },
    signal
  });
}

/** Where one series is to be had as a file: everything there is from `since` on (Unix seconds), oldest first. */
export function exportUrl(type: string, moduleId: string, format: 'csv' | 'ndjson', since?: number): string {
  const query = new URLSearchParams({ module_id: moduleId, order: 'asc', format });
  if (since !== undefined) query.set('since', String(since));
  return hubUrl(`/api/sensors/${id(type)}?${query}`);
}

/** The most pages of gaps that are read; a module that lost more is told apart by `whole`. */
const MAX_GAP_PAGES = 5;

/** Readings that will never arrive, oldest gap first; without a type those of the whole module. */
export async function gaps(
  moduleId: string,
  span: { type?: string; since?: number; until?: number },
  signal?: AbortSignal
): Promise<{ items: Gap[]; complete: boolean }> {
  const items: Gap[] = [];
  let cursor: string | undefined;
  for (let read = 0; read < MAX_GAP_PAGES; read += 1) {
    const query = { module_id: moduleId, ...span, limit: 1000, cursor };
    const page: Page<Gap> = await request('GET', '/api/gaps', { query, signal });
    items.push(...page.items);
    cursor = page.next ?? undefined;
    if (!cursor) return { items, complete: true };
  }
  return { items, complete: false };
}

/** Every item of a list. */
async function whole<Item>(path: string, signal?: AbortSignal): Promise<Item[]> {
  const all: Item[] = [];
  let cursor: string | undefined;
  do {
    const page: Page<Item> = await request('GET', path, { query: { limit: 1000, cursor }, signal });
    all.push(...page.items);
    cursor = page.next ?? undefined;
  } while (cursor);
  return all;
}

/** Every module, by id. */
export const modules = (signal?: AbortSignal): Promise<Module[]> => whole('/api/modules', signal);

/** Every camera that delivered, and who watches it. */
export const cameras = (signal?: AbortSignal): Promise<WatchedCamera[]> => whole('/api/cameras', signal);

/** `key` names this press of a button: asked again with it, the hub takes the command once. */
export const control = (moduleId: string, command: NewCommand, key: string): Promise<Command> =>
  request('POST', `/api/modules/${id(moduleId)}/control`, { body: command, headers: { 'Idempotency-Key': key } });

export const command = (commandId: string): Promise<Command> => request('GET', `/api/commands/${id(commandId)}`);

export const cancel = (commandId: string): Promise<Command> => request('POST', `/api/commands/${id(commandId)}/cancel`);

/** A module's commands, newest first. */
export const commandHistory = (moduleId: string, limit: number, signal?: AbortSignal): Promise<Page<Command>> =>
  request('GET', `/api/modules/${id(moduleId)}/commands/history`, { query: { limit }, signal });

export const storage = (signal?: AbortSignal): Promise<StorageReport> => request('GET', '/api/storage', { signal });

/** What was put aside is told of no more. */
export const acknowledgeStorage = (): Promise<void> => request('POST', '/api/storage/acknowledge');

/** Resolves when the backup is made and verified. */
export const makeBackup = (): Promise<void> => request('POST', '/api/storage/backup');

/** Says what is too old; with `confirm` it is removed. */
export const retention = (confirm: boolean): Promise<RetentionReport> =>
  request('POST', '/api/storage/retention', { body: { confirm } });

export const session = (ask?: typeof fetch): Promise<Session> => request('GET', '/api/auth/session', { fetch: ask });

export const login = (name: string, password: string): Promise<Session> =>
  request('POST', '/api/auth/login', { body: { name, password } });

export const logout = (): Promise<void> => request('POST', '/api/auth/logout');

/** `code` is the one-time code the hub printed when it started. */
export const createFirstAdmin = (code: string, name: string, password: string): Promise<Session> =>
  request('POST', '/api/auth/first-admin', { body: { code, name, password } });

/** Where the camera's moving picture (MJPEG) is. */
export const streamUrl = (moduleId: string): string => hubUrl(`/api/camera/stream?module_id=${id(moduleId)}`);

/** Where the camera's newest JPEG is. */
export const snapshotUrl = (moduleId: string): string => hubUrl(`/api/camera/snapshot?module_id=${id(moduleId)}`);
