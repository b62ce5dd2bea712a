//! Recovery of an outbox directory after an orderly or disorderly end.

use std::{collections::VecDeque, io, path::Path};

use super::{
    checkpoint::{Checkpoint, CheckpointData},
    gaps::Gaps,
    limits::OutboxError,
    segment::{Segment, SegmentItem},
    state::{Found, State},
};
use crate::{
    model::{
        gap::{GapReason, NewGap},
        id::ModuleId,
        reading::SeqNo,
    },
    time::Clock,
};

/// The result of the recovery.
pub(super) struct Recovered {
    pub epoch: u64,
    pub next_seq: u64,
    pub gaps: Gaps,
    pub segments: VecDeque<Segment>,
    /// The number of readings found to be lost.
    pub lost: u64,
}

/// Recovers the directory.
///
/// The numbering continues after an orderly shutdown, and after a kill whose checkpoint still exists;
/// readings that were only in memory are then a gap. Otherwise (a power cut, an unreadable state) it is
/// unknown which numbers were assigned, and a new epoch begins.
pub(super) fn recover(
    folder: &Path,
    module_id: &ModuleId,
    boot: u128,
    clock: &dyn Clock,
) -> Result<Recovered, OutboxError> {
    let failed = |source| OutboxError::Io { folder: folder.to_owned(), source };
    let state = match State::read(folder).map_err(failed)? {
        Found::State(state) if state.module_id != *module_id => {
            return Err(OutboxError::OtherModule { folder: folder.to_owned(), owner: state.module_id });
        }
        Found::State(state) => Some(state),
        Found::Broken => {
            tracing::warn!(folder = %folder.display(), "the outbox cannot say how far it counted; it counts anew");
            None
        }
        Found::Nothing => None,
    };
    let mut gaps = Gaps::default();
    let mut counted = None;
    let mut killed = None;
    if let Some(State { epoch, next_seq, gaps: saved, .. }) = state {
        gaps = Gaps::of(saved);
        let mark = Checkpoint::read(epoch);
        match (next_seq, mark) {
            (Some(next), _) => counted = Some((epoch, next)),
            (None, Some(CheckpointData { first, next })) => {
                counted = Some((epoch, next));
                killed = (first < next).then(|| gap(epoch, first, next - 1, GapReason::Killed));
            }
            (None, None) => {}
        }
        Checkpoint::forget(epoch);
    }
    let mut lost = 0;
    let mut add = |gap: NewGap| {
        lost += gap.lost();
        gaps.add(gap);
    };
    // The numbers on disk end where those in memory began.
    let in_memory = killed.as_ref().map(|gap| gap.first_seq);
    let counted_to = |epoch| counted.filter(|(e, _)| *e == epoch).map(|(_, next)| in_memory.unwrap_or(next));
    let found = list(folder).map_err(failed)?;
    let uppers: Vec<_> = (0..found.len())
        .map(|n| match found.get(n + 1) {
            Some(next) if next.epoch == found[n].epoch => Some(next.first_seq),
            _ => counted_to(found[n].epoch),
        })
        .collect();
    let mut segments = VecDeque::new();
    for (mut segment, upper) in found.into_iter().zip(uppers) {
        segment.upper_seq = upper;
        match look(&mut segment, boot, clock) {
            Ok(Scan::Good) => segments.push_back(segment),
            Ok(Scan::Empty) => drop(segment.delete()),
            unreadable => {
                let error = unreadable.err();
                tracing::warn!(folder = %folder.display(), ?error, "a segment of the outbox cannot be read");
                let last = upper.map_or(segment.first_seq, |upper| upper.saturating_sub(1));
                add(gap(
                    segment.epoch,
                    segment.first_seq,
                    last.max(segment.first_seq),
                    GapReason::Unreadable,
                ));
                let _ = segment.delete();
            }
        }
    }
    if let Some(mut killed) = killed {
        // Killed after writing readings and before updating the checkpoint: those are not lost.
        let written =
            segments.iter().filter(|s: &&Segment| s.epoch == killed.epoch).map(|s| s.last_seq).max();
        killed.first_seq = killed.first_seq.max(written.map_or(0, |last| last + 1));
        if killed.first_seq <= killed.last_seq {
            add(killed);
        }
    }
    // A segment whose loss is recorded was about to be deleted.
    segments.retain(|segment| {
        let going = gaps.evicted(SeqNo { epoch: segment.epoch, seq: segment.last_seq });
        if going {
            let _ = segment.delete();
        }
        !going
    });
    let (epoch, next_seq) = counted.unwrap_or_else(|| (super::new_epoch(), 1));
    Ok(Recovered { epoch, next_seq, gaps, segments, lost })
}

fn gap(epoch: u64, first_seq: u64, last_seq: u64, reason: GapReason) -> NewGap {
    NewGap { epoch, first_seq, last_seq, reason, series: Vec::new() }
}

/// The segments, oldest first, by their names.
fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        segments.extend(Segment::of(entry?.path()));
    }
    segments.sort_by_key(|segment| segment.ordinal);
    Ok(segments)
}

enum Scan {
    Good,
    /// A header without records.
    Empty,
    Unreadable,
}

/// Counts the readings of a segment. Damaged records between them are reported when it is read.
fn look(segment: &mut Segment, boot: u128, clock: &dyn Clock) -> io::Result<Scan> {
    let bytes = segment.load()?;
    segment.bytes = bytes.len() as u64;
    // Without its header only the boot is unknown; its name has the rest.
    let mut rotten = !segment.read_header(&bytes);
    // The age of readings of another boot is unknown, so it restarts.
    let now = clock.monotonic();
    let mut at = segment.offset;
    while let Some(piece) = segment.next(&bytes, at, boot) {
        match piece {
            SegmentItem::Rotten(end, _) => (at, rotten) = (end, true),
            SegmentItem::Reading(kept, end) => {
                at = end;
                let then = kept.taken.monotonic.unwrap_or(now).min(now);
                if segment.left == 0 {
                    segment.span.0 = then;
                }
                segment.span.1 = then;
                segment.left += 1;
                segment.last_seq = kept.number.seq;
            }
        }
    }
    Ok(match (segment.left, rotten) {
        (0, true) => Scan::Unreadable,
        (0, false) => Scan::Empty,
        _ => Scan::Good,
    })
}
