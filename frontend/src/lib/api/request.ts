import { noResponse, problemFromResponse } from './problem';
import { hubUrl } from './url';

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

/** Sets the handler for a session that has ended (called once, by the root layout). */
export function onUnauthenticated(handler: () => void): void {
  unauthenticated = handler;
}

function withQuery(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  if (given.length === 0) return path;
  return `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

/**
 * Sends a request and returns the successful response. This is the only function that calls `fetch`.
 *
 * Throws an `ApiProblem`; an aborted request throws the signal's reason.
 */
export async function requestRaw(method: string, path: string, options: Options = {}): Promise<Response> {
  const { query, body, headers, signal, fetch: send = fetch } = options;
  let response: Response;
  try {
    response = await send(hubUrl(withQuery(path, query)), {
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
  if (response.ok) return response;
  const problem = await problemFromResponse(response);
  // A wrong password is `unauthenticated` too; the login page shows that itself.
  if (problem.kind === 'unauthenticated' && !path.startsWith('/api/auth/')) unauthenticated();
  throw problem;
}

/** Sends a request and returns the decoded JSON body (`undefined` for 204). Throws as `requestRaw` does. */
export async function request<Body>(method: string, path: string, options: Options = {}): Promise<Body> {
  const response = await requestRaw(method, path, options);
  return (response.status === 204 ? undefined : await response.json()) as Body;
}
