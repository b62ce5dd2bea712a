import { readFileSync, readdirSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Plugin, PreviewServer, ViteDevServer } from 'vite';
import { WebSocketServer } from 'ws';
import { type Answer, FIRST_ADMIN_CODE, MockHub, type Recording } from './hub.ts';

const FIXTURES = new URL('./fixtures/', import.meta.url);
const FRAME_MS = 1000 / 12;

const recording = (name: string): Recording => JSON.parse(readFileSync(new URL(name, FIXTURES), 'utf8'));

/**
 * Serves the hub's part of the origin from recorded answers.
 *
 * `MOCK_FIRST_ADMIN=1`: begins without an admin. `MOCK_EMPTY=1`: begins without modules. `MOCK_EXTRA=0`: only the
 * recorded modules, not the invented ones.
 */
export function mockHub(): Plugin {
  return {
    name: 'iotpi-mock-hub',
    configureServer: attach,
    // The built pages with a mock hub: `vite build && vite preview --mode mock`.
    configurePreviewServer: attach
  };
}

function attach(server: ViteDevServer | PreviewServer): void {
  const { MOCK_EMPTY, MOCK_EXTRA, MOCK_FIRST_ADMIN } = process.env;
  const recorded = [recording('recorded.json'), ...(MOCK_EXTRA === '0' ? [] : [recording('extra.json')])];
  const frames = readdirSync(new URL('frames/', FIXTURES))
    .sort()
    .map((name) => readFileSync(new URL(`frames/${name}`, FIXTURES)));
  const hub = new MockHub(MOCK_EMPTY === '1' ? [] : recorded, MOCK_FIRST_ADMIN === '1');
  const live = new WebSocketServer({ noServer: true });
  hub.start();

  server.middlewares.use('/api', (request, response) => {
    void serve(hub, frames, request, response);
  });

  server.httpServer?.on('upgrade', (request, socket, head) => {
    if (request.url?.split('?')[0] !== '/api/live') return;
    if (!hub.callerOf(sessionOf(request))) {
      socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
      return;
    }
    live.handleUpgrade(request, socket, head, (client) => {
      let told = false;
      const end = hub.listen((event) => {
        if (told || event.type === 'hello') client.send(JSON.stringify(event));
      });
      client.on('message', (message) => {
        const { recent = 1 } = JSON.parse(String(message)) as { recent?: number };
        told = true;
        client.send(JSON.stringify(hub.present(recent)));
      });
      client.on('close', end);
    });
  });

  server.httpServer?.on('close', () => {
    hub.stop();
    live.close();
  });
  const how = MOCK_FIRST_ADMIN === '1' ? `first admin code: ${FIRST_ADMIN_CODE}` : 'log in with any name and password';
  server.config.logger.info(`  mock hub: ${how} (the names viewer and operator have those roles)`);
}

async function serve(hub: MockHub, frames: Buffer[], request: IncomingMessage, response: ServerResponse) {
  const url = new URL(`/api${request.url ?? '/'}`, 'http://mock');
  const session = sessionOf(request);
  if (url.pathname.startsWith('/api/camera/') && hub.callerOf(session)) {
    if (url.pathname.endsWith('/stream')) stream(frames, response);
    else response.writeHead(200, { 'content-type': 'image/jpeg' }).end(frames[frameAt(frames)]);
    return;
  }
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body: unknown = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : undefined;
  send(
    response,
    hub.answer(request.method ?? 'GET', url, body, session, request.headers['idempotency-key']?.toString())
  );
}

function send(response: ServerResponse, { status, body, session }: Answer) {
  if (session !== undefined) {
    const end = session === '' ? '; Max-Age=0' : '';
    response.setHeader('set-cookie', `iotpi_session=${session}; Path=/; HttpOnly; SameSite=Strict${end}`);
  }
  response.setHeader('content-type', status < 400 ? 'application/json' : 'application/problem+json');
  response.writeHead(status).end(body === undefined ? undefined : JSON.stringify(body));
}

const frameAt = (frames: Buffer[]): number => Math.floor(Date.now() / FRAME_MS) % frames.length;

function stream(frames: Buffer[], response: ServerResponse) {
  response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace; boundary=frame', 'cache-control': 'no-store' });
  const interval = setInterval(() => {
    const frame = frames[frameAt(frames)] as Buffer;
    response.write(`--frame\r\ncontent-type: image/jpeg\r\ncontent-length: ${frame.length}\r\n\r\n`);
    response.write(frame);
    response.write('\r\n');
  }, FRAME_MS);
  response.on('close', () => clearInterval(interval));
}

function sessionOf(request: IncomingMessage): string | undefined {
  return /(?:^|; )iotpi_session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
}
