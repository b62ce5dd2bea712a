import { describe, expect, test } from 'vitest';
import type { CommandState } from '../api/types';
import { tell } from './command-label';
import { aCommand } from './testing';

describe('a command', () => {
  test('with an unknown result says that it may have run and will not be retried', () => {
    const told = tell(aCommand({ state: 'unknown_outcome', error: 'the power went' }));

    expect(told.tone).toBe('bad');
    expect(told.word).toBe('Result unknown');
    expect(told.detail).toBe(
      'It may or may not have run (The power went). It will not be retried; please check the device.'
    );
  });

  test('that a newer one made pointless names that one', () => {
    const told = tell(aCommand({ state: 'cancelled', superseded_by: '0199-abcdef12' }));

    expect(told).toEqual({ tone: 'quiet', word: 'Replaced', detail: 'Replaced by a newer command (abcdef12)' });
  });

  test('that somebody cancelled is just cancelled', () => {
    expect(tell(aCommand({ state: 'cancelled' }))).toEqual({ tone: 'quiet', word: 'Cancelled' });
  });

  test('that waits for an offline module says so', () => {
    expect(tell(aCommand(), 'online').detail).toBeUndefined();
    expect(tell(aCommand(), 'offline').detail).toMatch(/^Module \S+ is offline\. The command waits for it\.$/);
  });

  test('has a word in every state', () => {
    const states: CommandState[] = ['leased', 'succeeded', 'failed', 'rejected', 'expired', 'dead', 'unknown_outcome'];

    for (const state of states) expect(tell(aCommand({ state })).word).not.toBe('');
  });
});
