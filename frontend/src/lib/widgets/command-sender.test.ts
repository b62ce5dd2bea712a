import { afterEach, describe, expect, test, vi } from 'vitest';
import { Live } from '../live/live.svelte';
import { aCommand, FakeHub } from '../live/testing';
import { Order } from './command-sender.svelte';

const anOrder = () =>
  new Order(
    new Live({ url: 'ws://hub/api/live', askCommand: () => Promise.reject(new Error()), open: new FakeHub().open })
  );

/** Answers each request in turn; `null` is no answer at all. Returns the keys that were sent. */
function aHubThatAnswers(...answers: (Response | null)[]): (string | undefined)[] {
  const keys: (string | undefined)[] = [];
  vi.stubGlobal('fetch', (_: string, init: { headers: Record<string, string> }) => {
    keys.push(init.headers['Idempotency-Key']);
    const answer = answers.shift();
    return answer ? Promise.resolve(answer) : Promise.reject(new TypeError('network'));
  });
  return keys;
}

const taken = (id: string) => Response.json(aCommand({ id }));
const give = (order: Order) => order.give('attic', 'open', {});

afterEach(() => vi.unstubAllGlobals());

describe('an order', () => {
  test('has a name of its own each time the button is pressed', async () => {
    const keys = aHubThatAnswers(taken('one'), taken('two'));
    const order = anOrder();

    await give(order);
    await give(order);

    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys[1]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys[0]).not.toBe(keys[1]);
  });

  test('that got no answer is sent once more under the same name', async () => {
    const keys = aHubThatAnswers(null, taken('one'));
    const order = anOrder();

    expect(await give(order)).toBe(true);

    expect(keys).toHaveLength(2);
    expect(keys[0]).toBe(keys[1]);
    expect(order.command?.id).toBe('one');
  });

  test('is refused when the hub stays silent', async () => {
    const keys = aHubThatAnswers(null, null);
    const order = anOrder();

    expect(await give(order)).toBe(false);

    expect(keys).toHaveLength(2);
    expect(order.refusal).toBe('The hub does not answer.');
  });

  test('that the hub refused is not sent again', async () => {
    const problem = { kind: 'conflict', title: 'Conflict', status: 409, detail: 'the queue is full' };
    const keys = aHubThatAnswers(Response.json(problem, { status: 409 }));
    const order = anOrder();

    expect(await give(order)).toBe(false);

    expect(keys).toHaveLength(1);
    expect(order.refusal).toBe('The queue is full.');
  });
});
