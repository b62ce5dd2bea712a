import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import adapter from '@sveltejs/adapter-static';
import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

const PAGE = 'build/index.html';

/**
 * The files of the dashboard, and one page for every path: the hub answers unknown paths with it and the
 * browser routes.
 */
// `precompress` writes a .br and a .gz file beside each text file; the hub sends the one that the browser
// prefers.
const files = adapter({ pages: 'build', assets: 'build', fallback: 'index.html', precompress: true });

/**
 * As `files`, but with `%base%` in the page instead of the base path. The hub replaces it for each request, because a
 * proxy may serve the hub below a path of its own.
 *
 * @type {import('@sveltejs/kit').Adapter}
 */
const belowAnyPath = {
  ...files,
  async adapt(builder) {
    await files.adapt(builder);
    const replaced = [
      [/"\/_app\//g, '"%base%/_app/'],
      [/"\/favicon\.svg"/g, '"%base%/favicon.svg"'],
      [/base: ""/g, 'base: new URL("%base%/", location).pathname.slice(0, -1)']
    ].reduce(
      (page, [absolute, relative]) => {
        if (!page.match(absolute))
          throw new Error(`${PAGE} has no ${absolute}: SvelteKit writes it in another way now`);
        return page.replace(absolute, relative);
      },
      readFileSync(PAGE, 'utf8')
    );
    writeFileSync(PAGE, replaced);
    // The hub sends the page uncompressed, since it writes the base path into it.
    for (const coding of ['br', 'gz']) rmSync(`${PAGE}.${coding}`, { force: true });
  }
};

/** @type {import('@sveltejs/kit').Config} */
export default {
  preprocess: vitePreprocess(),
  // Tests run in Node, but as in a browser: compiled for a server, state is plain and effects do nothing.
  vitePlugin: { dynamicCompileOptions: () => (process.env.VITEST ? { generate: 'client' } : undefined) },
  compilerOptions: { runes: ({ filename }) => (filename.includes('node_modules') ? undefined : true) },
  kit: {
    adapter: belowAnyPath,
    // Scripts import each other by relative paths.
    paths: { relative: true },
    // No version file is polled: a hub that was updated also drops the live connection, and the page reloads
    // on a failed import.
    version: { pollInterval: 0 }
  }
};
