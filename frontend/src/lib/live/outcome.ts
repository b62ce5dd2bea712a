import type { Command, Health } from '../api/types';

/** How a command is shown: in colour, in a word, and with what there is to say about it. */
export interface Told {
  tone: 'good' | 'bad' | 'wait' | 'quiet';
  word: string;
  detail?: string;
}

/** What a person is told of a command. `health` is its module's. */
export function tell(command: Command, health?: Health): Told {
  const { module_id: who } = command;
  const error = command.error ?? undefined;
  switch (command.state) {
    case 'queued':
      return {
        tone: 'wait',
        word: 'Queued',
        detail: health === 'offline' ? `${who} is offline; the command waits for it` : undefined
      };
    case 'leased':
      return {
        tone: 'wait',
        word: 'Running',
        detail: command.started_at ? 'Begun: it is done once at most' : undefined
      };
    case 'succeeded':
      return { tone: 'good', word: 'Done' };
    case 'failed':
      return { tone: 'bad', word: 'Failed', detail: error };
    case 'rejected':
      return { tone: 'bad', word: 'Rejected', detail: error };
    case 'expired':
      return { tone: 'bad', word: 'Expired', detail: error ?? `${who} did not take it in time` };
    case 'cancelled':
      return command.superseded_by
        ? {
            tone: 'quiet',
            word: 'Superseded',
            detail: `A newer order took its place (${shortId(command.superseded_by)})`
          }
        : { tone: 'quiet', word: 'Cancelled' };
    case 'dead':
      return { tone: 'bad', word: 'Given up', detail: error ?? `${who} took it but never said how it went` };
    case 'unknown_outcome':
      return {
        tone: 'bad',
        word: 'Outcome unknown',
        detail: `Nobody knows whether it was done${error ? ` (${error})` : ''}. It is not done a second time: somebody has to look.`
      };
  }
}

/** Enough of an id to find it in a list. */
export const shortId = (id: string): string => id.slice(-8);
