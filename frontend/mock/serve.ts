/** The mock hub as handlers for any HTTP server. */
import { readFileSync, readdirSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { ClientMessage, LiveEvent } from '../src/lib/live/protocol';
import { inventedCameras } from './cameras.ts';
import { MockHub } from './hub.ts';
import type { Fixture, MockResponse } from './responses.ts';
import { frameAt, frameNow, type Jpegs, MockFrames } from './frames.ts';

const FIXTURES = new URL('./fixtures/', import.meta.url);
const FRAME_MS = 1000 / 12;

const fixture = (name: string): Fixture => JSON.parse(readFileSync(new URL(name, FIXTURES), 'utf8'));

export type Settings = Partial<
  Record<'MOCK_CAMERAS' | 'MOCK_EMPTY' | 'MOCK_EXTRA' | 'MOCK_FIRST_ADMIN' | 'MOCK_FRAMES', string>
>;

export interface MockServer {
  /** Answers a request whose path begins with `/api`. */
  respond: (request: IncomingMessage, response: ServerResponse, path: string) => void;
  upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  stop: () => void;
}

/** Starts a mock hub, which runs until it is stopped. */
export function startMockHub(settings: Settings): MockServer {
  const { MOCK_CAMERAS, MOCK_EMPTY, MOCK_EXTRA, MOCK_FIRST_ADMIN, MOCK_FRAMES } = settings;
  const cameras = Number(MOCK_CAMERAS ?? (MOCK_EXTRA === '0' ? 1 : 4));
  const extra = MOCK_EXTRA === '0' ? [] : [fixture('extra.json')];
  const recorded = [fixture('recorded.json'), ...extra, inventedCameras(cameras - 1)];
  const jpegs: Jpegs = {
    frames: readdirSync(new URL('frames/', FIXTURES))
      .sort()
      .map((name) => readFileSync(new URL(`frames/${name}`, FIXTURES))),
    noSignal: readFileSync(new URL('no-signal.jpg', FIXTURES))
  };
  const hub = new MockHub(MOCK_EMPTY === '1' ? [] : recorded, MOCK_FIRST_ADMIN === '1');
  const live = new WebSocketServer({ noServer: true });
  hub.start();

  function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (request.url?.split('?')[0] !== '/api/live') return;
    if (!hub.callerOf(sessionOf(request))) {
      socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
      return;
    }
    live.handleUpgrade(request, socket, head, (client) => {
      let subscribed = false;
      const sendEvent = (event: LiveEvent) => client.send(JSON.stringify(event));
      const frames = new MockFrames(
        jpegs,
        (moduleId) => hub.isLost(moduleId),
        (message) => client.send(message)
      );
      const unsubscribe = hub.listen((event) => {
        if (subscribed || event.type === 'hello') sendEvent(event);
      });
      client.on('message', (data) => {
        const message = JSON.parse(String(data)) as ClientMessage;
        if (message.type === 'subscribe') {
          subscribed = true;
          sendEvent(hub.snapshot(message.recent));
        } else if (MOCK_FRAMES === '0') sendEvent(unknownMessage(message.type));
        else if (message.type === 'time')
          sendEvent({ type: 'time', client_time: message.client_time, hub_time: Date.now() / 1000 });
        else frames.take(message);
      });
      client.on('close', () => {
        unsubscribe();
        frames.end();
      });
    });
  }

  return {
    respond: (request, response, path) => void serve(hub, jpegs, request, response, path),
    upgrade,
    stop: () => {
      hub.stop();
      live.close();
    }
  };
}

const unknownMessage = (type: string): LiveEvent => ({
  type: 'problem',
  problem: {
    type: 'urn:iotpi:problem:invalid_argument',
    kind: 'invalid_argument',
    title: 'Invalid argument',
    status: 400,
    detail: `unknown message type ${type}`
  }
});

async function serve(hub: MockHub, jpegs: Jpegs, request: IncomingMessage, response: ServerResponse, path: string) {
  const url = new URL(path, 'http://mock');
  const session = sessionOf(request);
  if (hub.callerOf(session)) {
    if (url.pathname === '/api/camera/stream') return stream(jpegs, response);
    if (url.pathname === '/api/camera/snapshot') return sendJpeg(response, frameNow(jpegs));
    if (/^\/api\/cameras\/[^/]+\/recordings\/frame$/.test(url.pathname)) {
      const at = hub.recordings.nearest(Number(url.searchParams.get('at')));
      if (at !== null) return sendJpeg(response, frameAt(jpegs, at), { 'x-timestamp': String(at) });
    }
  }
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body: unknown = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : undefined;
  send(
    response,
    hub.respond(request.method ?? 'GET', url, body, session, request.headers['idempotency-key']?.toString())
  );
}

function send(response: ServerResponse, { status, body, session }: MockResponse) {
  if (session !== undefined) {
    const end = session === '' ? '; Max-Age=0' : '';
    response.setHeader('set-cookie', `iotpi_session=${session}; Path=/; HttpOnly; SameSite=Strict${end}`);
  }
  if (body !== undefined)
    response.setHeader('content-type', status < 400 ? 'application/json' : 'application/problem+json');
  response.writeHead(status).end(body === undefined ? undefined : JSON.stringify(body));
}

function sendJpeg(response: ServerResponse, jpeg: Buffer, headers: Record<string, string> = {}) {
  response.writeHead(200, { 'content-type': 'image/jpeg', ...headers }).end(jpeg);
}

function stream(jpegs: Jpegs, response: ServerResponse) {
  response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace; boundary=frame', 'cache-control': 'no-store' });
  const interval = setInterval(() => {
    const frame = frameNow(jpegs);
    response.write(`--frame\r\ncontent-type: image/jpeg\r\ncontent-length: ${frame.length}\r\n\r\n`);
    response.write(frame);
    response.write('\r\n');
  }, FRAME_MS);
  response.on('close', () => clearInterval(interval));
}

function sessionOf(request: IncomingMessage): string | undefined {
  return /(?:^|; )iotpi_session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
}
