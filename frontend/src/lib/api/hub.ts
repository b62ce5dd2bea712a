/** The hub's operations as the dashboard uses them, one function a route. */
import { request } from './request';
import type { Bucket, Command, Module, NewCommand, Page, Reading, Session } from './types';

const id = encodeURIComponent;

interface Span {
  moduleId: string;
  /** Unix seconds, inclusive. */
  since: number;
  /** Unix seconds, exclusive. */
  until?: number;
  /** At most 1,000. */
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

/** One series by the minute, newest first. */
export function minutes(type: string, span: Span, signal?: AbortSignal): Promise<Page<Bucket>> {
  const { moduleId, since, until, limit } = span;
  return request('GET', `/api/sensors/${id(type)}`, {
    query: { module_id: moduleId, since, until, limit, bucket: '1m' },
    signal
  });
}

/** Every module, by id. */
export async function modules(signal?: AbortSignal): Promise<Module[]> {
  const all: Module[] = [];
  let cursor: string | undefined;
  do {
    const page: Page<Module> = await request('GET', '/api/modules', { query: { limit: 1000, cursor }, signal });
    all.push(...page.items);
    cursor = page.next ?? undefined;
  } while (cursor);
  return all;
}

export const control = (moduleId: string, command: NewCommand): Promise<Command> =>
  request('POST', `/api/modules/${id(moduleId)}/control`, { body: command });

export const command = (commandId: string): Promise<Command> => request('GET', `/api/commands/${id(commandId)}`);

export const cancel = (commandId: string): Promise<Command> => request('POST', `/api/commands/${id(commandId)}/cancel`);

/** A module's commands, newest first. */
export const commandHistory = (moduleId: string, limit: number, signal?: AbortSignal): Promise<Page<Command>> =>
  request('GET', `/api/modules/${id(moduleId)}/commands/history`, { query: { limit }, signal });

export const session = (ask?: typeof fetch): Promise<Session> => request('GET', '/api/auth/session', { fetch: ask });

export const login = (name: string, password: string): Promise<Session> =>
  request('POST', '/api/auth/login', { body: { name, password } });

export const logout = (): Promise<void> => request('POST', '/api/auth/logout');

/** `code` is the one-time code the hub printed when it started. */
export const createFirstAdmin = (code: string, name: string, password: string): Promise<Session> =>
  request('POST', '/api/auth/first-admin', { body: { code, name, password } });

/** Where the camera's moving picture (MJPEG) is. */
export const streamUrl = (moduleId: string): string => `/api/camera/stream?module_id=${id(moduleId)}`;

/** Where the camera's newest JPEG is. */
export const snapshotUrl = (moduleId: string): string => `/api/camera/snapshot?module_id=${id(moduleId)}`;
