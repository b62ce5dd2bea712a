import { describe, expect, test } from 'vitest';
import type { CommandState } from '../api/types';
import { labelOf } from './command-label';
import { aCommand } from './testing';

describe('a command', () => {
  test('with an unknown result says that it may have run and will not be retried', () => {
    const label = labelOf(aCommand({ state: 'unknown_outcome', error: 'the power went' }));

    expect(label.tone).toBe('bad');
    expect(label.text).toBe('Result unknown');
    expect(label.detail).toBe(
      'It may or may not have run (The power went). It will not be retried; please check the device.'
    );
  });

  test('replaced by a newer command names it', () => {
    const label = labelOf(aCommand({ state: 'cancelled', superseded_by: '0199-abcdef12' }));

    expect(label).toEqual({ tone: 'quiet', text: 'Replaced', detail: 'Replaced by a newer command (abcdef12)' });
  });

  test('cancelled by a user is just cancelled', () => {
    expect(labelOf(aCommand({ state: 'cancelled' }))).toEqual({ tone: 'quiet', text: 'Cancelled' });
  });

  test('waiting for an offline module says so', () => {
    expect(labelOf(aCommand(), 'online').detail).toBeUndefined();
    expect(labelOf(aCommand(), 'offline').detail).toMatch(/^Module \S+ is offline\. The command waits for it\.$/);
  });

  test('has a text in every state', () => {
    const states: CommandState[] = ['leased', 'succeeded', 'failed', 'rejected', 'expired', 'dead', 'unknown_outcome'];

    for (const state of states) expect(labelOf(aCommand({ state })).text).not.toBe('');
  });

  test('of a newer hub is labelled with the unknown state', () => {
    const state = 'of_tomorrow' as CommandState;

    expect(labelOf(aCommand({ state, error: 'why' }))).toEqual({ tone: 'quiet', text: 'of_tomorrow', detail: 'Why.' });
  });
});
