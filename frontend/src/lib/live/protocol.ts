/** The messages of docs/ref/live.md. */
import { hubUrl } from '../api/url';
import type { CameraInfo, Command, Module, Problem, Reading } from '../api/types';

export interface Subscribe {
  type: 'subscribe';
  /** How many of the newest readings of each series the snapshot contains. */
  recent: number;
}

/** The cameras whose frames are sent; replaces the previous list. */
export interface Watch {
  type: 'watch';
  cameras: { module_id: string; max_fps?: number }[];
}

/** Acknowledges a painted frame, and all frames of its camera before it. */
export interface Shown {
  type: 'shown';
  module_id: string;
  seq: number;
}

/** Asks for the hub's time; the hub answers with a message of the same type. */
export interface TimeRequest {
  type: 'time';
  /** Unix seconds by the browser's clock. */
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

/** The most readings of one `recent` message, over all series. */
export const MAX_RECENT_READINGS = 10_000;

/** The used part of a `WebSocket`; tests provide their own. */
export interface LiveSocket {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event?: { code: number }) => void) | null;
  send(data: string): void;
  close(): void;
}

/** The close code when the session of the connection has ended (RFC 6455, 7.4.1). */
export const POLICY_VIOLATION = 1008;

/** Starts to connect and returns at once. */
export type OpenSocket = (url: string) => LiveSocket;

/** The browser's WebSocket. */
export const openWebSocket: OpenSocket = (url) => {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  return socket as LiveSocket;
};

/** The URL of the live connection to the hub that served this page. */
export function liveUrl(page: Location): string {
  return `${page.protocol === 'https:' ? 'wss' : 'ws'}://${page.host}${hubUrl('/api/live')}`;
}
