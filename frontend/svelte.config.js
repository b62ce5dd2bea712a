import adapter from '@sveltejs/adapter-static';
import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

/** @type {import('@sveltejs/kit').Config} */
export default {
  preprocess: vitePreprocess(),
  compilerOptions: { runes: ({ filename }) => (filename.includes('node_modules') ? undefined : true) },
  kit: {
    // One page for every path: the hub answers unknown paths with index.html and the browser routes.
    adapter: adapter({ pages: 'build', assets: 'build', fallback: 'index.html' }),
    paths: { relative: false },
    // No version file is polled: a hub that was updated also drops the live connection, and the page reloads on a failed import.
    version: { pollInterval: 0 }
  }
};
