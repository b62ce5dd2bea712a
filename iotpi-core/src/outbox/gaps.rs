//! The gaps that are not yet reported to the hub.

use std::collections::BTreeMap;

use super::queued_reading::QueuedReading;
use crate::{
    model::{
        gap::{GapReason, MAX_GAP_SERIES, NewGap, SeriesGap},
        id::{Channel, SensorType},
        reading::SeqNo,
    },
    time::Clock,
};

/// The maximum number of queued gaps. An outage makes one, and a hub that answers takes them. Readings beyond
/// that show as missing at the hub.
const MAX_GAPS: usize = 4096;

/// The unreported gaps, oldest first.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    waiting: Vec<PendingGap>,
}

#[derive(Debug)]
struct PendingGap {
    gap: NewGap,
    /// The hub may have it already. It is not extended any more, because a hub identifies a gap by its epoch
    /// and first number.
    tried: bool,
}

impl Gaps {
    /// The gaps of an earlier process, which may have reported them.
    pub fn of(gaps: Vec<NewGap>) -> Self {
        Self { waiting: gaps.into_iter().map(|gap| PendingGap { gap, tried: true }).collect() }
    }

    /// Adds a gap, or extends an unreported one of the same reason that ends right before it. Returns false
    /// if the queue is full.
    pub fn add(&mut self, gap: NewGap) -> bool {
        let known = |w: &PendingGap| {
            w.gap.epoch == gap.epoch && w.gap.first_seq <= gap.first_seq && gap.last_seq <= w.gap.last_seq
        };
        if gap.last_seq < gap.first_seq || self.waiting.iter().any(known) {
            return true;
        }
        let before = |w: &&mut PendingGap| {
            !w.tried
                && w.gap.epoch == gap.epoch
                && w.gap.reason == gap.reason
                && w.gap.last_seq.checked_add(1) == Some(gap.first_seq)
        };
        if let Some(before) = self.waiting.iter_mut().find(before) {
            before.gap.last_seq = gap.last_seq;
            join(&mut before.gap.series, gap.series);
            return true;
        }
        if self.waiting.len() == MAX_GAPS {
            return false;
        }
        self.waiting.push(PendingGap { gap, tried: false });
        true
    }

    /// The oldest gap, which is about to be reported.
    pub fn next(&mut self) -> Option<NewGap> {
        let oldest = self.waiting.first_mut()?;
        oldest.tried = true;
        Some(oldest.gap.clone())
    }

    /// Records that a gap was reported.
    pub fn reported(&mut self, gap: &NewGap) {
        self.waiting.retain(|w| {
            w.gap.epoch != gap.epoch || w.gap.first_seq != gap.first_seq || w.gap.reason != gap.reason
        });
    }

    /// Whether the reading with this number was dropped because the outbox was full or the reading too old.
    pub fn evicted(&self, number: SeqNo) -> bool {
        let covers = |w: &PendingGap| {
            matches!(w.gap.reason, GapReason::Full | GapReason::TooOld)
                && w.gap.epoch == number.epoch
                && (w.gap.first_seq..=w.gap.last_seq).contains(&number.seq)
        };
        self.waiting.iter().any(covers)
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All gaps, to be saved.
    pub fn list(&self) -> Vec<NewGap> {
        self.waiting.iter().map(|w| w.gap.clone()).collect()
    }
}

fn join(known: &mut Vec<SeriesGap>, more: Vec<SeriesGap>) {
    for more in more {
        if let Some(known) =
            known.iter_mut().find(|known| known.kind == more.kind && known.channel == more.channel)
        {
            known.lost += more.lost;
            known.since = known.since.min(more.since);
            known.until = known.until.max(more.until);
        } else if known.len() < MAX_GAP_SERIES {
            known.push(more);
        }
    }
}

/// The losses of a gap, by type and channel.
type SeriesGaps = BTreeMap<(SensorType, Option<Channel>), SeriesGap>;

/// The gaps for these lost readings: one for each contiguous range of numbers.
pub(super) fn gaps_of<'a>(
    lost: impl IntoIterator<Item = &'a QueuedReading>,
    reason: GapReason,
    clock: &dyn Clock,
) -> Vec<NewGap> {
    let mut gaps: Vec<(NewGap, SeriesGaps)> = Vec::new();
    for kept in lost {
        let SeqNo { epoch, seq } = kept.number;
        match gaps.last_mut() {
            Some((gap, _)) if gap.epoch == epoch && gap.last_seq + 1 == seq => gap.last_seq = seq,
            _ => {
                let gap = NewGap { epoch, first_seq: seq, last_seq: seq, reason, series: Vec::new() };
                gaps.push((gap, BTreeMap::new()));
            }
        }
        let (Some(at), Some((_, series))) = (kept.taken.at(clock), gaps.last_mut()) else { continue };
        let kind = kept.quantity.name();
        let channel = kept.channel.clone();
        let known = series.entry((kind.clone(), channel.clone())).or_insert(SeriesGap {
            kind,
            channel,
            lost: 0,
            since: at,
            until: at,
        });
        known.lost += 1;
        known.since = known.since.min(at);
        known.until = known.until.max(at);
    }
    let merged = |(gap, series): (NewGap, BTreeMap<_, _>)| NewGap {
        series: series.into_values().take(MAX_GAP_SERIES).collect(),
        ..gap
    };
    gaps.into_iter().map(merged).collect()
}
