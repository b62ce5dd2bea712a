import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { alias: { '$app/paths': new URL('support/origin.ts', import.meta.url).pathname } },
  test: {
    include: ['e2e/**/*.e2e.ts'],
    root: new URL('..', import.meta.url).pathname,
    // Each file is one story in order: after the first failure the rest would only repeat it.
    bail: 1,
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 45_000, interval: 100 } }
  }
});
