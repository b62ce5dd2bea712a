/** What became of the readings of a module, in words. */
import type { Delivery, Gap, GapReason } from '../api/types';
import { counted, dayOf } from '../units/names';

/** Why readings were lost, as the end of a sentence. */
export const WHY: Record<GapReason, string> = {
  full: 'the module’s outbox was full',
  too_old: 'they waited longer than the outbox keeps them',
  unreadable: 'the outbox could not be read back',
  refused: 'the hub would not take them',
  killed: 'the module was killed before they were on its disk'
};

/** Whether every reading arrived. */
export const isWhole = ({ lost, missing }: Delivery): boolean => lost === 0 && missing === 0;

/** `0 lost since 24 Nov`, or how many were and how many may still come. */
export function accountOf({ lost, missing, since }: Delivery): string {
  const parts = [counted(lost, 'lost', 'lost')];
  if (missing > 0) parts.push(`${counted(missing, 'not', 'not')} yet arrived`);
  return `${parts.join(', ')} since ${dayOf(since)}`;
}

/**
 * What the gaps took all together and why: `40 readings lost: the module’s outbox was full`. Unless they are the `whole`
 * of it, it is at least that.
 */
export function lossOf(gaps: readonly Pick<Gap, 'lost' | 'reason'>[], whole = true): string | null {
  if (gaps.length === 0) return null;
  const lost = gaps.reduce((sum, gap) => sum + gap.lost, 0);
  const why = [...new Set(gaps.map((gap) => WHY[gap.reason]))];
  return `${whole ? '' : 'At least '}${counted(lost, 'reading')} lost: ${why.join('; ')}`;
}
