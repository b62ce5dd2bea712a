/** The messages of docs/ref/live.md. */
import { hubUrl } from '../api/url';
import type { CameraInfo, Command, Module, Problem, Reading } from '../api/types';

export interface Subscribe {
  type: 'subscribe';
  /** How many of the newest readings of each series come first. */
  recent: number;
}

/** Which cameras' pictures are sent; replaces the list before. */
export interface Watch {
  type: 'watch';
  cameras: { module_id: string; max_fps?: number }[];
}

/** That frame was painted; it stands for those of its camera before it too. */
export interface Shown {
  type: 'shown';
  module_id: string;
  seq: number;
}

/** Asks for the hub's time; comes back with it. */
export interface TimeRequest {
  type: 'time';
  /** Unix seconds by our clock. */
  client_time: number;
}

export type ClientMessage = Subscribe | Watch | Shown | TimeRequest;

export type LiveEvent =
  | { type: 'hello'; hub_time: number; version: string }
  | { type: 'recent'; seq: number; readings: Reading[]; modules: Module[]; cameras: CameraInfo[] }
  | { type: 'reading'; seq: number; reading: Reading }
  | { type: 'module'; seq: number; module: Module }
  | { type: 'module_removed'; seq: number; module_id: string }
  | { type: 'command'; seq: number; command: Command }
  | { type: 'camera'; seq: number; camera: CameraInfo }
  | { type: 'time'; client_time: number; hub_time: number }
  | { type: 'resync'; seq: number; missed: number }
  | { type: 'problem'; problem: Problem };

/** The most readings one `recent` holds, of all series together. */
export const MAX_RECENT_READINGS = 10_000;

/** What we need of a `WebSocket`; tests bring their own. */
export interface LiveSocket {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event?: { code: number }) => void) | null;
  send(data: string): void;
  close(): void;
}

/** The hub closes a connection with this code when the session that opened it has ended (RFC 6455, 7.4.1). */
export const POLICY_VIOLATION = 1008;

/** Begins to connect and returns at once. */
export type OpenSocket = (url: string) => LiveSocket;

/** The browser's own; its handlers get more than we look at. */
export const openWebSocket: OpenSocket = (url) => {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  return socket as LiveSocket;
};

/** Where the hub that served this page streams. */
export function liveUrl(page: Location): string {
  return `${page.protocol === 'https:' ? 'wss' : 'ws'}://${page.host}${hubUrl('/api/live')}`;
}
