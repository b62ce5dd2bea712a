import { fileURLToPath } from 'node:url';
import { sveltekit } from '@sveltejs/kit/vite';
import type { ProxyOptions } from 'vite';
import { defineConfig } from 'vitest/config';
import { mockHub } from './mock/plugin.ts';

const hub = process.env.IOTPI_HUB ?? 'http://127.0.0.1:8000';

/**
 * The hub rejects a foreign `Host` or `Origin`, so a proxied request must look as if it came from the hub's
 * own page.
 */
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

/**
 * Tests load Svelte for the browser, because svelte.config.js compiles their runes for it. The condition
 * `browser` would not do: with it SvelteKit, too, would expect a window.
 */
const svelteInBrowsers = [
  { find: /^svelte$/, replacement: ofSvelte('index-client.js') },
  { find: /^svelte\/reactivity$/, replacement: ofSvelte('reactivity/index-client.js') }
];

function ofSvelte(file: string): string {
  return fileURLToPath(new URL(`node_modules/svelte/src/${file}`, import.meta.url));
}

export default defineConfig(({ mode }) => ({
  plugins: [sveltekit(), ...(mode === 'mock' ? [mockHub()] : [])],
  server: {
    proxy: mode === 'mock' ? {} : toHubOf(['/api', '/health', '/docs', '/metrics'])
  },
  resolve: { alias: process.env.VITEST ? svelteInBrowsers : [] },
  test: {
    include: ['src/**/*.test.ts', 'mock/**/*.test.ts'],
    environment: 'node'
  }
}));
