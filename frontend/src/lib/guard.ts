/** Decides which page a session may open. */
import { error, redirect } from '@sveltejs/kit';
import { resolve } from '$app/paths';
import { ApiProblem } from './api/problem';
import { session } from './session.svelte';

export type Entry = 'setup' | 'login' | 'app';

/** Loads the session and redirects to the page for it, unless that is the current one. */
export async function guard(current: Entry, fetch: typeof globalThis.fetch): Promise<void> {
  try {
    await session.load(fetch);
  } catch (thrown) {
    if (thrown instanceof ApiProblem) error(thrown.status || 503, { message: thrown.message, kind: thrown.kind });
    throw thrown;
  }
  const target: Entry = session.caller ? 'app' : session.needsFirstAdmin ? 'setup' : 'login';
  if (target !== current) redirect(307, PAGES[target]);
}

const PAGES: Record<Entry, string> = {
  setup: resolve('/setup'),
  login: resolve('/login'),
  app: resolve('/')
};
