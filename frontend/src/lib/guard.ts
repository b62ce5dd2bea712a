/** Which page the session lets a person see. */
import { error, redirect } from '@sveltejs/kit';
import { resolve } from '$app/paths';
import { ApiProblem } from './api/problem';
import { session } from './session.svelte';

export type Door = 'setup' | 'login' | 'inside';

/** Asks the hub who is calling and sends them to the page that is for them, unless they are there. */
export async function guard(here: Door, ask: typeof fetch): Promise<void> {
  try {
    await session.load(ask);
  } catch (thrown) {
    if (thrown instanceof ApiProblem) error(thrown.status || 503, { message: thrown.message, kind: thrown.kind });
    throw thrown;
  }
  const there: Door = session.caller ? 'inside' : session.needsFirstAdmin ? 'setup' : 'login';
  if (there !== here) redirect(307, PAGES[there]);
}

const PAGES: Record<Door, string> = {
  setup: resolve('/setup'),
  login: resolve('/login'),
  inside: resolve('/')
};
