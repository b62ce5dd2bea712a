import type { Plugin, PreviewServer, ViteDevServer } from 'vite';
import { FIRST_ADMIN_CODE } from './hub.ts';
import { startMockHub } from './serve.ts';

/**
 * Serves `/api` from recorded responses.
 *
 * `MOCK_FIRST_ADMIN=1`: starts without an admin. `MOCK_EMPTY=1`: starts without modules. `MOCK_EXTRA=0`: only
 * the recorded modules, not the generated ones. `MOCK_CAMERAS=9`: the number of cameras (1 to 16).
 * `MOCK_FRAMES=0`: behaves like an older hub, which sends no frames over the live connection.
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
  const mock = startMockHub(process.env);
  server.middlewares.use('/api', (request, response) => mock.respond(request, response, `/api${request.url ?? '/'}`));
  server.httpServer?.on('upgrade', mock.upgrade);
  server.httpServer?.on('close', mock.stop);
  const how =
    process.env.MOCK_FIRST_ADMIN === '1'
      ? `first admin code: ${FIRST_ADMIN_CODE}`
      : 'log in with any name and password';
  server.config.logger.info(`  mock hub: ${how} (the names viewer and operator have those roles)`);
}
