import { describe, expect, test, vi } from 'vitest';
import { ApiProblem, PROBLEM_KINDS, errorMessage, problemFromResponse } from './problem';
import { onUnauthenticated, request } from './request';

const respondWith = (status: number, body: string, type = 'application/problem+json') =>
  vi.fn<typeof fetch>(() => Promise.resolve(new Response(body, { status, headers: { 'content-type': type } })));

async function problemFrom(path: string, send: typeof fetch): Promise<ApiProblem> {
  const thrown: unknown = await request('GET', path, { fetch: send }).catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(ApiProblem);
  return thrown as ApiProblem;
}

describe('a problem document', () => {
  test('keeps every field that a person or a program can act on', async () => {
    const document = {
      type: 'urn:iotpi:problem:unprocessable',
      kind: 'unprocessable',
      title: 'Unprocessable content',
      status: 422,
      detail: 'temperature cannot be measured in `bananas`',
      pointer: '/3/unit',
      request_id: '01890a5d',
      choices: ['celsius', 'kelvin']
    };

    const problem = await problemFromResponse(new Response(JSON.stringify(document), { status: 422 }));

    expect(problem.kind).toBe('unprocessable');
    expect(problem.message).toBe('temperature cannot be measured in `bananas`');
    expect(problem.pointer).toBe('/3/unit');
    expect(problem.requestId).toBe('01890a5d');
    expect(problem.choices).toEqual(['celsius', 'kelvin']);
    expect(problem.retryAfterSecs).toBeNull();
  });

  test.each(PROBLEM_KINDS)('of kind %s is decoded as that kind', async (kind) => {
    const problem = await problemFromResponse(Response.json({ kind, title: 'No', status: 400 }, { status: 400 }));

    expect(problem.kind).toBe(kind);
    expect(problem.message).toBe('No');
  });

  test('of an unknown kind is an internal problem', async () => {
    const problem = await problemFromResponse(Response.json({ kind: 'teapot', title: 'No' }, { status: 418 }));

    expect(problem.kind).toBe('internal');
  });

  test('is distinguished from the page of a proxy that cannot reach the hub', async () => {
    const problem = await problemFromResponse(new Response('<h1>Bad gateway</h1>', { status: 502 }));

    expect(problem.kind).toBe('unavailable');
    expect(problem.message).toContain('502');
  });
});

describe('a request', () => {
  test('without a response is an `unavailable` problem', async () => {
    const problem = await problemFrom('/api/modules', () => Promise.reject(new TypeError('fetch failed')));

    expect(problem.kind).toBe('unavailable');
    expect(problem.status).toBe(0);
    expect(errorMessage(problem)).toBe('The hub does not respond.');
  });

  test('without a session leads to the login page', async () => {
    const toLogin = vi.fn();
    onUnauthenticated(toLogin);

    const body = JSON.stringify({ kind: 'unauthenticated', title: 'Say who you are', status: 401 });
    const problem = await problemFrom('/api/modules', respondWith(401, body));

    expect(problem.kind).toBe('unauthenticated');
    expect(toLogin).toHaveBeenCalledOnce();
  });

  test('with a wrong password stays on the login page, which shows the error', async () => {
    const toLogin = vi.fn();
    onUnauthenticated(toLogin);

    const body = JSON.stringify({ kind: 'unauthenticated', title: 'Wrong', status: 401 });
    await problemFrom('/api/auth/login', respondWith(401, body));

    expect(toLogin).not.toHaveBeenCalled();
  });

  test('omits undefined query parameters', async () => {
    const send = respondWith(200, '{"items": [], "next": null}', 'application/json');

    await request('GET', '/api/sensors/temperature', { query: { since: 5, until: undefined }, fetch: send });

    expect(send.mock.calls[0]?.[0]).toBe('/api/sensors/temperature?since=5');
  });
});
