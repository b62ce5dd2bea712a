import { toSentence } from '../units/names';
import type { Problem, ProblemKind } from './types';

/** The closed list of docs/ref/api.md. */
export const PROBLEM_KINDS = [
  'invalid_argument',
  'unauthenticated',
  'permission_denied',
  'not_found',
  'conflict',
  'too_large',
  'unprocessable',
  'rate_limited',
  'internal',
  'unavailable',
  'storage_full'
] as const satisfies readonly ProblemKind[];

/** The hub rejected a request, or did not respond (`kind` is then `unavailable` and `status` 0). */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem';
  readonly kind: ProblemKind;
  readonly status: number;
  readonly pointer: string | null;
  readonly retryAfterSecs: number | null;
  readonly choices: readonly string[];
  /** To be quoted in a bug report. */
  readonly requestId: string | null;

  constructor(problem: Pick<Problem, 'kind' | 'title' | 'status'> & Partial<Problem>) {
    super(problem.detail ?? problem.title);
    this.kind = problem.kind;
    this.status = problem.status;
    this.pointer = problem.pointer ?? null;
    this.retryAfterSecs = problem.retry_after_secs ?? null;
    this.choices = problem.choices ?? [];
    this.requestId = problem.request_id ?? null;
  }
}

function isProblem(body: unknown): body is Problem {
  return (
    typeof body === 'object' &&
    body !== null &&
    'kind' in body &&
    (PROBLEM_KINDS as readonly unknown[]).includes(body.kind) &&
    'title' in body
  );
}

/** Reads an error response. A body that is not a problem document comes from a proxy in front of the hub. */
export async function problemFromResponse(response: Response): Promise<ApiProblem> {
  const body: unknown = await response.json().catch(() => null);
  if (isProblem(body)) return new ApiProblem(body);
  return new ApiProblem({
    kind: response.status >= 500 ? 'unavailable' : 'internal',
    title: `Hub not reachable: a proxy answered with status ${response.status}.`,
    status: response.status
  });
}

/** The problem of a request without a response. */
export function noResponse(): ApiProblem {
  return new ApiProblem({ kind: 'unavailable', title: 'The hub does not respond.', status: 0 });
}

/** The text of an error on the page, as a sentence. */
export function errorMessage(thrown: unknown): string {
  return toSentence(thrown instanceof Error ? thrown.message : String(thrown));
}
