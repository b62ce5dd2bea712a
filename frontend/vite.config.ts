import { sveltekit } from '@sveltejs/kit/vite';
import type { ProxyOptions } from 'vite';
import { defineConfig } from 'vitest/config';
import { mockHub } from './mock/plugin.ts';

const hub = process.env.IOTPI_HUB ?? 'http://127.0.0.1:8000';

/** The hub refuses a foreign `Host` or `Origin`, so a proxied request has to look as if it came from its own page. */
const toHub: ProxyOptions = {
  target: hub,
  changeOrigin: true,
  ws: true,
  configure(proxy) {
    proxy.on('proxyReq', (request) => {
      if (request.hasHeader('origin')) request.setHeader('origin', new URL(hub).origin);
    });
    proxy.on('proxyReqWs', (request) => request.setHeader('origin', new URL(hub).origin));
  }
};

const toHubOf = (paths: string[]) => Object.fromEntries(paths.map((path) => [path, toHub]));

export default defineConfig(({ mode }) => ({
  plugins: [sveltekit(), ...(mode === 'mock' ? [mockHub()] : [])],
  server: {
    proxy: mode === 'mock' ? {} : toHubOf(['/api', '/health', '/docs', '/metrics'])
  },
  // Runes outside a component are compiled for the browser; without this vitest would load Svelte's server half.
  resolve: process.env.VITEST ? { conditions: ['browser'] } : {},
  test: {
    include: ['src/**/*.test.ts'],
    environment: 'node'
  }
}));
