/** A hub's end of the live connection for tests: what was opened, what was said, and what is to be said. */
import type { Command, Module, Reading } from '../api/types';
import type { LiveEvent, LiveSocket, OpenSocket } from './protocol';

export class FakeSocket implements LiveSocket {
  onopen: LiveSocket['onopen'] = null;
  onmessage: LiveSocket['onmessage'] = null;
  onclose: LiveSocket['onclose'] = null;
  readonly sent: unknown[] = [];
  closed = false;

  send(data: string): void {
    this.sent.push(JSON.parse(data));
  }

  close(): void {
    this.closed = true;
  }

  accept(): void {
    this.onopen?.();
    this.say({ type: 'hello', hub_time: Date.now() / 1000, version: '0.1.0' });
  }

  say(event: LiveEvent): void {
    this.onmessage?.({ data: JSON.stringify(event) });
  }

  /** The connection ends from the hub's side. */
  drop(): void {
    this.onclose?.();
  }
}

export class FakeHub {
  readonly sockets: FakeSocket[] = [];

  readonly open: OpenSocket = () => {
    const socket = new FakeSocket();
    this.sockets.push(socket);
    return socket;
  };

  get newest(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error('nothing was opened');
    return socket;
  }
}

export const aReading = (timestamp: number, value: number | null = 21, type = 'temperature'): Reading => ({
  module_id: 'attic',
  type,
  value,
  unit: 'celsius',
  timestamp,
  received_at: timestamp
});

export const aModule = (id: string, rest: Partial<Module> = {}): Module => ({
  id,
  manifest: null,
  health: 'online',
  last_seen_at: 1_795_472_000,
  registered_at: 1_795_472_000,
  state: null,
  state_at: null,
  ...rest
});

export const recent = (parts: Partial<Extract<LiveEvent, { type: 'recent' }>> = {}): LiveEvent => ({
  type: 'recent',
  seq: 1,
  readings: [],
  modules: [],
  cameras: [],
  ...parts
});

export const aCommand = (rest: Partial<Command> = {}): Command => ({
  id: 'c1',
  module_id: 'attic',
  action: 'open',
  params: {},
  state: 'queued',
  issued_by: 'anna',
  created_at: 1_795_472_000,
  expires_at: 1_795_472_060,
  attempts: 0,
  result: null,
  error: null,
  ...rest
});
