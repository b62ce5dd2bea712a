import { describe, expect, test } from 'vitest';
import type { CommandState } from '../api/types';
import { tell } from './outcome';
import { aCommand } from './testing';

describe('a command', () => {
  test('whose outcome is unknown says that nobody knows, and that it is not done again', () => {
    const told = tell(aCommand({ state: 'unknown_outcome', error: 'the power went' }));

    expect(told.tone).toBe('bad');
    expect(told.detail).toContain('Nobody knows whether it was done (the power went)');
    expect(told.detail).toContain('not done a second time');
  });

  test('that a newer one made pointless names that one', () => {
    const told = tell(aCommand({ state: 'cancelled', superseded_by: '0199-abcdef12' }));

    expect(told).toEqual({ tone: 'quiet', word: 'Superseded', detail: 'A newer order took its place (abcdef12)' });
  });

  test('that somebody cancelled is just cancelled', () => {
    expect(tell(aCommand({ state: 'cancelled' }))).toEqual({ tone: 'quiet', word: 'Cancelled' });
  });

  test('that waits for a module says so only when the module is away', () => {
    expect(tell(aCommand(), 'online').detail).toBeUndefined();
    expect(tell(aCommand(), 'offline').detail).toContain('offline');
  });

  test('has a word in every state', () => {
    const states: CommandState[] = ['leased', 'succeeded', 'failed', 'rejected', 'expired', 'dead', 'unknown_outcome'];

    for (const state of states) expect(tell(aCommand({ state })).word).not.toBe('');
  });
});
