import type { Command, Health } from '../api/types';
import { toSentence } from '../units/names';

/** How a command is shown: its colour, a word for its state, and details. */
export interface CommandLabel {
  tone: 'good' | 'bad' | 'wait' | 'quiet';
  text: string;
  detail?: string;
}

/** The label of a command. `health` is that of its module. */
export function labelOf(command: Command, health?: Health): CommandLabel {
  const { module_id } = command;
  const error = command.error ? toSentence(command.error) : undefined;
  switch (command.state) {
    case 'queued':
      return {
        tone: 'wait',
        text: 'Queued',
        detail:
          health === 'offline' || health === 'unknown'
            ? `Module ${module_id} is offline. The command waits for it.`
            : undefined
      };
    case 'leased':
      return {
        tone: 'wait',
        text: 'Running',
        detail: command.started_at ? 'Started (never runs twice)' : undefined
      };
    case 'succeeded':
      return { tone: 'good', text: 'Done' };
    case 'failed':
      return { tone: 'bad', text: 'Failed', detail: error };
    case 'rejected':
      return { tone: 'bad', text: 'Rejected', detail: error };
    case 'expired':
      return { tone: 'bad', text: 'Expired', detail: error ?? `Module ${module_id} did not receive it in time.` };
    case 'cancelled':
      return command.superseded_by
        ? {
            tone: 'quiet',
            text: 'Replaced',
            detail: `Replaced by a newer command (${shortId(command.superseded_by)})`
          }
        : { tone: 'quiet', text: 'Cancelled' };
    case 'dead':
      return {
        tone: 'bad',
        text: 'No response',
        detail: error ?? `Module ${module_id} received it but did not report a result.`
      };
    case 'unknown_outcome':
      return {
        tone: 'bad',
        text: 'Result unknown',
        detail: `It may or may not have run${error ? ` (${error.replace(/\.$/, '')})` : ''}. It will not be retried; please check the device.`
      };
    default:
      // A state of a newer hub.
      return { tone: 'quiet', text: String(command.state), detail: error };
  }
}

/** Long enough to find the id in a list. */
export const shortId = (id: string): string => id.slice(-8);
