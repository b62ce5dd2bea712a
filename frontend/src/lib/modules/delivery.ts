/** Texts about received and lost readings of a module. */
import type { Delivery, Gap, GapReason } from '../api/types';
import { formatCount, formatDate } from '../units/names';
import { formatNumber } from '../units/units';

const GAP_REASON_TEXTS: Record<GapReason, string> = {
  full: 'the module ran out of space for unsent readings',
  too_old: 'they were too old to be sent',
  unreadable: 'unsent readings could not be read',
  refused: 'the hub rejected them',
  killed: 'the module stopped before it saved them'
};

/** Why readings were lost, as the end of a sentence; the word itself if it is one of a newer hub. */
export const gapReasonText = (reason: GapReason): string => GAP_REASON_TEXTS[reason] ?? reason;

/** The series of a gap in a sentence: `temperature`, `temperature (supply)`; the module may not know it. */
export const lostSeriesName = ({ type, channel }: Pick<Gap, 'type' | 'channel'>): string =>
  type == null ? 'unknown type' : channel == null ? type : `${type} (${channel})`;

/** Whether all readings arrived. */
export const isComplete = ({ lost, missing }: Delivery): boolean => lost === 0 && missing === 0;

/** `All 84 readings received since 26 Nov`, or the numbers of lost and pending readings. */
export function deliverySummary(delivery: Delivery): string {
  const { received, lost, missing, since } = delivery;
  const from = `since ${formatDate(since)}`;
  if (isComplete(delivery)) {
    return received === 1 ? `1 reading received ${from}` : `All ${formatCount(received, 'reading')} received ${from}`;
  }
  const parts = [`${formatNumber(lost, 0)} lost`];
  if (missing > 0) parts.push(`${formatNumber(missing, 0)} pending`);
  return `${parts.join(', ')} ${from}`;
}

/**
 * All gaps together, with their reasons: `40 readings lost: the hub rejected them`. `complete`: no gap is
 * left out.
 */
export function lossSummary(gaps: readonly Pick<Gap, 'lost' | 'reason'>[], complete = true): string | null {
  if (gaps.length === 0) return null;
  const lost = gaps.reduce((sum, gap) => sum + gap.lost, 0);
  const why = [...new Set(gaps.map((gap) => gapReasonText(gap.reason)))];
  return `${complete ? '' : 'At least '}${formatCount(lost, 'reading')} lost: ${why.join('; ')}`;
}
