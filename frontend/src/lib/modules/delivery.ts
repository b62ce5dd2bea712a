/** The texts about received and lost readings of a module. */
import type { Delivery, Gap, GapReason } from '../api/types';
import { counted, dayOf } from '../units/names';
import { number } from '../units/units';

/** Why readings were lost, as the end of a sentence. */
export const WHY: Record<GapReason, string> = {
  full: 'the outbox of the module was full',
  too_old: 'they were older than the outbox limit',
  unreadable: 'the outbox could not be read',
  refused: 'the hub rejected them',
  killed: 'the module was killed before it saved them'
};

/** Whether every reading arrived. */
export const isWhole = ({ lost, missing }: Delivery): boolean => lost === 0 && missing === 0;

/** `All 84 readings received since 26 Nov`, or the counts of lost and pending ones. */
export function accountOf(delivery: Delivery): string {
  const { received, lost, missing, since } = delivery;
  const from = `since ${dayOf(since)}`;
  if (isWhole(delivery)) {
    return received === 1 ? `1 reading received ${from}` : `All ${counted(received, 'reading')} received ${from}`;
  }
  const parts = [`${number(lost, 0)} lost`];
  if (missing > 0) parts.push(`${number(missing, 0)} pending`);
  return `${parts.join(', ')} ${from}`;
}

/** All gaps together, with their reasons: `40 readings lost: the outbox of the module was full`. `whole`: no gap is left out. */
export function lossOf(gaps: readonly Pick<Gap, 'lost' | 'reason'>[], whole = true): string | null {
  if (gaps.length === 0) return null;
  const lost = gaps.reduce((sum, gap) => sum + gap.lost, 0);
  const why = [...new Set(gaps.map((gap) => WHY[gap.reason]))];
  return `${whole ? '' : 'At least '}${counted(lost, 'reading')} lost: ${why.join('; ')}`;
}
