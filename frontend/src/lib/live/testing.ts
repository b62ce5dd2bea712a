/** A fake hub at the other end of the live connection, for tests. */
import { messageErrors } from '../../../mock/contract.ts';
import type { CameraInfo, Command, Module, Reading } from '../api/types';
import type { ClientMessage, LiveEvent, LiveSocket, OpenSocket } from './protocol';

/** A message that a real hub or page would not send proves nothing. */
function expectKnown(from: 'hub' | 'client', message: object): void {
  const errors = messageErrors(from, JSON.parse(JSON.stringify(message)));
  if (errors.length > 0) throw new Error(`not the live protocol: ${errors.join('; ')}: ${JSON.stringify(message)}`);
}

export class FakeSocket implements LiveSocket {
  onopen: LiveSocket['onopen'] = null;
  onmessage: LiveSocket['onmessage'] = null;
  onclose: LiveSocket['onclose'] = null;
  readonly sent: ClientMessage[] = [];
  closed = false;

  /** The sent messages of one type. */
  sentOf<Type extends ClientMessage['type']>(type: Type): Extract<ClientMessage, { type: Type }>[] {
    return this.sent.filter((message) => message.type === type) as Extract<ClientMessage, { type: Type }>[];
  }

  send(data: string): void {
    const message = JSON.parse(data);
    expectKnown('client', message);
    this.sent.push(message);
  }

  close(): void {
    this.closed = true;
  }

  accept(): void {
    this.onopen?.();
    this.emit({ type: 'hello', hub_time: Date.now() / 1000, version: '0.1.0' });
  }

  emit(event: LiveEvent): void {
    expectKnown('hub', event);
    this.onmessage?.({ data: JSON.stringify(event) });
  }

  emitBinary(data: ArrayBuffer): void {
    this.onmessage?.({ data });
  }

  /** Answers the newest `time` message, like a hub whose clock is that far ahead. */
  answerTime(aheadSecs = 0): void {
    const client_time = this.sentOf('time').at(-1)?.client_time ?? NaN;
    this.emit({ type: 'time', client_time, hub_time: client_time + aheadSecs });
  }

  /** The hub closes the connection. */
  drop(code = 1006): void {
    this.onclose?.({ code });
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

export const aCamera = (moduleId: string, rest: Partial<CameraInfo> = {}): CameraInfo => ({
  module_id: moduleId,
  width: 640,
  height: 480,
  bytes: 16_000,
  fps: 12,
  viewers: 0,
  frames: 1,
  delivered: 0,
  skipped: 0,
  missing: 0,
  refused: 0,
  online: true,
  latency: { p50: 0.01, p99: 0.02 },
  taken_at: 1_795_472_000,
  captured_at: 1_795_472_000,
  received_at: 1_795_472_000,
  ...rest
});

interface FrameParts {
  moduleId?: string;
  flags?: number;
  seq?: number;
  capturedAt?: number;
  receivedAt?: number;
  jpeg?: readonly number[];
}

/** A binary message as the hub sends it. */
export function aFrameMessage(parts: FrameParts = {}): ArrayBuffer {
  const { moduleId = 'front', flags = 0, seq = 1, capturedAt = 0, receivedAt = 0 } = parts;
  const { jpeg = [0xff, 0xd8, 0xff, 0xd9] } = parts;
  const name = new TextEncoder().encode(moduleId);
  const message = new Uint8Array(32 + name.length + jpeg.length);
  const head = new DataView(message.buffer);
  head.setUint8(0, 1);
  head.setUint8(1, flags);
  head.setUint16(2, name.length);
  head.setBigUint64(8, BigInt(seq));
  head.setFloat64(16, capturedAt);
  head.setFloat64(24, receivedAt);
  message.set(name, 32);
  message.set(jpeg, 32 + name.length);
  return message.buffer;
}
