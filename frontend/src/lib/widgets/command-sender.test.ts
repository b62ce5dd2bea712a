import { afterEach, describe, expect, test, vi } from 'vitest';
import { Live } from '../live/live.svelte';
import { aCommand, FakeHub } from '../live/testing';
import { CommandSender } from './command-sender.svelte';

const newSender = () =>
  new CommandSender(
    new Live({ url: 'ws://hub/api/live', fetchCommand: () => Promise.reject(new Error()), open: new FakeHub().open })
  );

/** Returns these responses in turn; `null` is a network error. Returns the keys that were sent. */
function stubResponses(...answers: (Response | null)[]): (string | undefined)[] {
  const keys: (string | undefined)[] = [];
  vi.stubGlobal('fetch', (_: string, init: { headers: Record<string, string> }) => {
    keys.push(init.headers['Idempotency-Key']);
    const answer = answers.shift();
    return answer ? Promise.resolve(answer) : Promise.reject(new TypeError('network'));
  });
  return keys;
}

const accepted = (id: string) => Response.json(aCommand({ id }));
const send = (sender: CommandSender) => sender.send('attic', 'open', {});

afterEach(() => vi.unstubAllGlobals());

describe('a command', () => {
  test('has a new idempotency key for each press of the button', async () => {
    const keys = stubResponses(accepted('one'), accepted('two'));
    const sender = newSender();

    await send(sender);
    await send(sender);

    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys[1]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys[0]).not.toBe(keys[1]);
  });

  test('without a response is sent once more with the same idempotency key', async () => {
    const keys = stubResponses(null, accepted('one'));
    const sender = newSender();

    expect(await send(sender)).toBe(true);

    expect(keys).toHaveLength(2);
    expect(keys[0]).toBe(keys[1]);
    expect(sender.command?.id).toBe('one');
  });

  test('fails when the hub does not respond', async () => {
    const keys = stubResponses(null, null);
    const sender = newSender();

    expect(await send(sender)).toBe(false);

    expect(keys).toHaveLength(2);
    expect(sender.error).toBe('The hub does not respond.');
  });

  test('that the hub rejected is not sent again', async () => {
    const problem = { kind: 'conflict', title: 'Conflict', status: 409, detail: 'the queue is full' };
    const keys = stubResponses(Response.json(problem, { status: 409 }));
    const sender = newSender();

    expect(await send(sender)).toBe(false);

    expect(keys).toHaveLength(1);
    expect(sender.error).toBe('The queue is full.');
  });
});
