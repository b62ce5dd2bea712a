import { hubUrl } from './url';
import { noResponse, problemFromResponse } from './problem';

type Query = Record<string, string | number | undefined>;

interface Options {
  query?: Query;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** SvelteKit's own inside a `load`. */
  fetch?: typeof fetch;
}

let unauthenticated: () => void = () => {};

/** Sets what happens when the hub no longer knows who is calling (once, by the root layout). */
export function onUnauthenticated(handler: () => void): void {
  unauthenticated = handler;
}

function withQuery(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  if (given.length === 0) return path;
  return `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

/**
 * The one place that calls `fetch`. Resolves to the decoded body (`undefined` for 204).
 *
 * Throws an `ApiProblem`; an aborted request throws the signal's reason.
 */
export async function request<Answer>(method: string, path: string, options: Options = {}): Promise<Answer> {
  const { query, body, headers, signal, fetch: ask = fetch } = options;
  let answer: Response;
  try {
    answer = await ask(hubUrl(withQuery(path, query)), {
      method,
      signal,
      credentials: 'same-origin',
      headers: body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body)
    });
  } catch (thrown) {
    if (signal?.aborted) throw thrown;
    throw noResponse();
  }
  if (answer.ok) return (answer.status === 204 ? undefined : await answer.json()) as Answer;
  const problem = await problemFromResponse(answer);
  // A wrong password is `unauthenticated` too; the login page says so itself.
  if (problem.kind === 'unauthenticated' && !path.startsWith('/api/auth/')) unauthenticated();
  throw problem;
}
