/** Responses of the mock hub, and the fixtures they come from. */

/** Responses of a real hub, as `npm run mock:record` writes them. */
export interface Fixture {
  /** Unix seconds; all times of the responses are moved by the time since then. */
  recorded_at: number;
  /** By request line. */
  answers: Record<string, unknown>;
}

export interface MockResponse {
  status: number;
  body: unknown;
  /** A new value for the session cookie; an empty one ends the session. */
  session?: string;
}

export const ok = (body: unknown): MockResponse => ({ status: 200, body });

export const problem = (status: number, kind: string, detail: string): MockResponse => ({
  status,
  body: { type: `urn:iotpi:problem:${kind}`, kind, title: kind.replaceAll('_', ' '), status, detail }
});

/** One page of a list; the cursor is the number of items before it. */
export function pageOf<Item>(items: readonly Item[], url: URL, maxLimit = 1000): MockResponse {
  const limit = Number(url.searchParams.get('limit') ?? 100);
  if (!Number.isInteger(limit) || limit < 1 || limit > maxLimit)
    return problem(400, 'invalid_argument', `\`limit\` is 1 to ${maxLimit}`);
  const from = Number(url.searchParams.get('cursor') ?? 0);
  const next = from + limit < items.length ? String(from + limit) : null;
  return ok({ items: items.slice(from, from + limit), next });
}
