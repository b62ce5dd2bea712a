//! The directory of an outbox: segments, oldest first, and the state file.
//!
//! ```text
//! lock                                   held by the process that has it open
//! state                                  its module, its epoch, the gaps to be reported
//! 0000000012-0fa3...-3017.seg            segment 12, of that epoch, from number 3017 on
//! ```

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    gaps::{Gaps, gaps_of},
    limits::{OutboxError, OutboxLimits},
    queued_reading::QueuedReading,
    record,
    recovery::{self, Recovered},
    segment::{Segment, SegmentItem},
    state::State,
};
use crate::{
    durable_file::sync_folder,
    model::{
        gap::{GapReason, NewGap},
        id::ModuleId,
    },
    random,
    time::Clock,
};

/// The limits are divided into this many segments, so that little is lost at once.
const SEGMENTS: u64 = 16;
/// The maximum size of a segment: one is in memory while it is read.
const MAX_SEGMENT_BYTES: u64 = 1024 * 1024;
/// The minimum interval between syncs.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// An open outbox directory.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    /// Held for the lock, never read.
    _lock: File,
    limits: OutboxLimits,
    clock: Arc<dyn Clock>,
    module_id: ModuleId,
    boot: u128,
    epoch: u64,
    gaps: Gaps,
    segments: VecDeque<Segment>,
    /// The file of the last segment, while it is written to.
    writer: Option<File>,
    next_ordinal: u64,
    /// The segment in memory, with its ordinal.
    loaded: Option<(u64, Vec<u8>)>,
    flight: Option<InFlight>,
    unsynced: bool,
    synced_at: Option<Instant>,
    /// Whether the gaps could not be written.
    unsaved: bool,
    lost: u64,
}

/// A batch in flight.
#[derive(Debug)]
struct InFlight {
    ordinal: u64,
    readings: VecDeque<(QueuedReading, usize)>,
    /// The reason for the loss of its segment, if it was deleted meanwhile.
    gone: Option<GapReason>,
}

/// A part of a segment that was read.
struct ReadAhead {
    readings: Vec<(QueuedReading, usize)>,
    /// The damaged records between them.
    gaps: Vec<NewGap>,
}

impl Disk {
    /// Opens the directory, creates it if missing, and recovers its content. Also returns the next number.
    pub fn open(
        folder: &Path,
        module_id: &ModuleId,
        limits: OutboxLimits,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, u64), OutboxError> {
        let failed = |source| OutboxError::Io { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OutboxError::InUse { folder: folder.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // The times of a clock without a boot id are valid in this process only.
        let boot =
            clock.boot().unwrap_or_else(|| u128::from(random::bits()) << 64 | u128::from(random::bits()));
        let found = recovery::recover(folder, module_id, boot, clock.as_ref())?;
        let Recovered { epoch, next_seq, gaps, segments, lost } = found;
        let mut disk = Self {
            folder: folder.to_owned(),
            _lock: lock,
            limits: limits.checked(),
            clock,
            module_id: module_id.clone(),
            boot,
            epoch,
            gaps,
            next_ordinal: segments.back().map_or(1, |last| last.ordinal + 1),
            segments,
            writer: None,
            loaded: None,
            flight: None,
            unsynced: false,
            synced_at: None,
            unsaved: false,
            lost,
        };
        disk.write_state(None).map_err(failed)?;
        disk.enforce_limits(0, 0);
        Ok((disk, next_seq))
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of queued readings.
    pub fn len(&self) -> u64 {
        self.segments.iter().map(|segment| segment.left).sum()
    }

    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends readings in this order. An error includes the number that was appended.
    pub fn append(&mut self, readings: &[QueuedReading]) -> Result<(), (usize, io::Error)> {
        let mut taken = 0;
        while taken < readings.len() {
            taken += self.append_some(&readings[taken..]).map_err(|error| (taken, error))?;
        }
        Ok(())
    }

    /// Appends as many readings as fit into the segment, at least one.
    fn append_some(&mut self, readings: &[QueuedReading]) -> io::Result<usize> {
        let now = self.clock.monotonic();
        let max_bytes = (self.limits.bytes / SEGMENTS).min(MAX_SEGMENT_BYTES);
        let max_readings = (self.limits.readings / SEGMENTS).max(1);
        let is_full = |segment: &Segment| {
            segment.bytes >= max_bytes
                || segment.left >= max_readings
                || now.saturating_sub(segment.span.0) > self.limits.age / SEGMENTS as u32
        };
        if self.segments.back().is_some_and(is_full) {
            self.close_writer();
        }
        if self.writer.is_none() {
            let first = readings.first().map_or(0, |kept| kept.number.seq);
            let (mut segment, file) =
                Segment::create(&self.folder, self.next_ordinal, self.epoch, self.boot, first)?;
            segment.span = (now, now);
            self.next_ordinal += 1;
            self.segments.push_back(segment);
            self.writer = Some(file);
        }
        let (before, left) = self.segments.back().map_or((0, 0), |segment| (segment.bytes, segment.left));
        let (mut bytes, mut count) = (Vec::new(), 0);
        for kept in readings {
            if count > 0 && (left + count >= max_readings || before + bytes.len() as u64 >= max_bytes) {
                break;
            }
            record::encode(kept, &mut bytes);
            count += 1;
        }
        self.enforce_limits(bytes.len() as u64, count);
        let (Some(file), Some(segment)) = (&mut self.writer, self.segments.back_mut()) else {
            return Err(io::Error::other("the segment is gone"));
        };
        if let Err(error) = file.write_all(&bytes) {
            // Half a record is harmless, but need not stay; the next attempt begins a new segment.
            let _ = file.set_len(before);
            self.writer = None;
            return Err(error);
        }
        self.unsynced = true;
        segment.bytes += bytes.len() as u64;
        segment.left += count;
        segment.span.1 = now;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        segment.last_seq = readings[count - 1].number.seq;
        Ok(count)
    }

    /// The segment is full: the next reading goes into a new one.
    fn close_writer(&mut self) {
        if let Some(file) = self.writer.take()
            && self.unsynced
            && let Err(error) = file.sync_data()
        {
            tracing::error!(%error, folder = %self.folder.display(), "the outbox could not be synced");
        }
    }

    /// Syncs the appended readings; at most once a second, unless it is the `last` time.
    pub fn sync(&mut self, last: bool) {
        if self.unsaved {
            self.save();
        }
        if !self.unsynced || (!last && self.synced_at.is_some_and(|at| at.elapsed() < SYNC_EVERY)) {
            return;
        }
        self.synced_at = Some(Instant::now());
        self.unsynced = false;
        let synced = match &self.writer {
            Some(file) => file.sync_data().and_then(|()| sync_folder(&self.folder)),
            None => sync_folder(&self.folder),
        };
        if let Err(error) = synced {
            // The kernel may have dropped the pages and would report success on a second sync: a new file
            // begins.
            tracing::error!(%error, folder = %self.folder.display(), "the outbox could not be synced");
            self.writer = None;
        }
    }

    /// Whether something is not yet synced or written.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced || self.unsaved
    }

    /// Checks out the oldest readings; [`Self::ack`] and [`Self::nack`] follow.
    pub fn checkout(&mut self, limit: usize) -> Vec<QueuedReading> {
        loop {
            let ordinal = self.segments.front().map(|front| front.ordinal);
            let Some(ordinal) = ordinal else { return Vec::new() };
            let ahead = self.read_ahead(limit).unwrap_or_else(|error| self.all_unreadable(&error));
            self.add_gaps(ahead.gaps);
            if ahead.readings.is_empty() {
                self.drop_front();
                continue;
            }
            let readings: Vec<_> = ahead.readings.iter().map(|(reading, _)| reading.clone()).collect();
            self.flight = Some(InFlight { ordinal, readings: ahead.readings.into(), gone: None });
            return readings;
        }
    }

    /// Acknowledges the first `count` readings in flight: they were delivered or reported as lost.
    pub fn ack(&mut self, count: usize) {
        let Some(flight) = &mut self.flight else { return };
        let settled = flight.readings.drain(..count.min(flight.readings.len())).next_back();
        let Some((last, end)) = settled else { return };
        let Some(front) = self.segments.front_mut().filter(|front| front.ordinal == flight.ordinal) else {
            return;
        };
        front.offset = end;
        front.settled_seq = last.number.seq;
        front.left = front.left.saturating_sub(count as u64);
        if front.offset as u64 >= front.bytes {
            self.drop_front();
        }
    }

    /// Ends the batch in flight; unacknowledged readings stay queued, unless their segment was deleted
    /// meanwhile.
    pub fn nack(&mut self) {
        if let Some(InFlight { readings, gone: Some(reason), .. }) = self.flight.take() {
            self.add_gaps(gaps_of(readings.iter().map(|(reading, _)| reading), reason, self.clock.as_ref()));
        }
    }

    /// Drops readings beyond the maximum age.
    pub fn drop_old(&mut self) {
        let now = self.clock.monotonic();
        while self.segments.front().is_some_and(|f| now.saturating_sub(f.span.1) > self.limits.age) {
            self.evict(GapReason::TooOld);
        }
    }

    /// Adds gaps durably.
    pub fn add_gaps(&mut self, gaps: impl IntoIterator<Item = NewGap>) {
        let mut lost = 0;
        for gap in gaps {
            lost += gap.lost();
            if !self.gaps.add(gap) {
                tracing::error!(folder = %self.folder.display(), "there are too many gaps to report");
            }
        }
        if lost > 0 {
            self.lost += lost;
            self.save();
        }
    }

    pub fn next_gap(&mut self) -> Option<NewGap> {
        self.gaps.next()
    }

    /// Records that a gap was reported.
    pub fn gap_reported(&mut self, gap: &NewGap) {
        self.gaps.reported(gap);
        self.save();
    }

    pub fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// Closes the outbox: everything is on disk, and the next process continues with `next_seq`.
    pub fn close(&mut self, next_seq: u64) -> io::Result<()> {
        self.nack();
        self.sync(true);
        self.writer = None;
        self.write_state(Some(next_seq))
    }

    /// Continues to read at the acknowledged position of the oldest segment.
    fn read_ahead(&mut self, limit: usize) -> io::Result<ReadAhead> {
        let upper = match (self.segments.front(), self.segments.get(1)) {
            (Some(front), Some(next)) if front.epoch == next.epoch => Some(next.first_seq),
            (Some(front), _) => front.upper_seq,
            _ => None,
        };
        let Some(front) = self.segments.front() else {
            return Ok(ReadAhead { readings: Vec::new(), gaps: Vec::new() });
        };
        let is_loaded = |(ordinal, bytes): &(u64, Vec<u8>)| {
            *ordinal == front.ordinal && bytes.len() as u64 >= front.bytes
        };
        if !self.loaded.as_ref().is_some_and(is_loaded) {
            self.loaded = Some((front.ordinal, front.load()?));
        }
        let bytes = self.loaded.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        Ok(read(front, bytes, front.offset, limit, upper, self.boot))
    }

    /// The content of the oldest segment, if its file cannot be read.
    fn all_unreadable(&self, error: &io::Error) -> ReadAhead {
        tracing::error!(%error, folder = %self.folder.display(), "a segment of the outbox cannot be read");
        let gap = |front: &Segment| NewGap {
            epoch: front.epoch,
            first_seq: front.settled_seq + 1,
            last_seq: front.last_seq,
            reason: GapReason::Unreadable,
            series: Vec::new(),
        };
        let gaps = self.segments.front().map(gap).filter(|gap| gap.first_seq <= gap.last_seq);
        ReadAhead { readings: Vec::new(), gaps: gaps.into_iter().collect() }
    }

    /// Deletes the oldest segments until this much more is within the limits.
    fn enforce_limits(&mut self, bytes: u64, readings: u64) {
        let over = |disk: &Self| {
            disk.segments.iter().map(|segment| segment.bytes).sum::<u64>() + bytes > disk.limits.bytes
                || disk.len() + readings > disk.limits.readings
        };
        // The segment that is written to stays.
        while self.segments.len() > 1 && over(self) {
            self.evict(GapReason::Full);
        }
    }

    /// Deletes the oldest segment and records its readings as a gap, except those in flight.
    fn evict(&mut self, reason: GapReason) {
        let Some(ordinal) = self.segments.front().map(|front| front.ordinal) else { return };
        let under_way = match &mut self.flight {
            Some(flight) if flight.ordinal == ordinal => {
                flight.gone = Some(reason);
                flight.readings.back().map(|(kept, end)| (kept.number.seq, *end))
            }
            _ => None,
        };
        if let (Some((seq, end)), Some(front)) = (under_way, self.segments.front_mut()) {
            (front.settled_seq, front.offset) = (seq, end);
        }
        let ahead = self.read_ahead(usize::MAX).unwrap_or_else(|error| self.all_unreadable(&error));
        let lost = gaps_of(ahead.readings.iter().map(|(reading, _)| reading), reason, self.clock.as_ref());
        self.add_gaps(lost.into_iter().chain(ahead.gaps));
        tracing::warn!(folder = %self.folder.display(), reason = reason.as_str(), "the oldest readings of the outbox were dropped");
        self.drop_front();
    }

    /// Removes the oldest segment, whose readings were all acknowledged.
    fn drop_front(&mut self) {
        let Some(front) = self.segments.pop_front() else { return };
        if self.segments.is_empty() {
            self.writer = None;
        }
        if self.loaded.as_ref().is_some_and(|(ordinal, _)| *ordinal == front.ordinal) {
            self.loaded = None;
        }
        if let Err(error) = front.delete() {
            tracing::error!(%error, folder = %self.folder.display(), "a segment of the outbox cannot be removed");
        }
    }

    fn save(&mut self) {
        let written = self.write_state(None);
        self.unsaved = written.is_err();
        if let Err(error) = written {
            tracing::error!(%error, folder = %self.folder.display(), "the gaps of the outbox cannot be written");
        }
    }

    fn write_state(&self, next_seq: Option<u64>) -> io::Result<()> {
        State::new(self.module_id.clone(), self.epoch, next_seq, self.gaps.list()).write(&self.folder)
    }
}

/// Reads up to `limit` readings of a segment from `at` on. `upper` is the number after its last one, if
/// known.
fn read(
    segment: &Segment,
    bytes: &[u8],
    at: usize,
    limit: usize,
    upper: Option<u64>,
    boot: u128,
) -> ReadAhead {
    let (mut readings, mut gaps) = (Vec::new(), Vec::new());
    let (mut end, mut before, mut rotten) = (at, segment.settled_seq, None);
    let mut hole = |before: u64, next: Option<u64>, looks_begun: bool| {
        // At a torn end the number of readings is unknown; if a record had begun, it was one.
        let next = next.or(looks_begun.then_some(before + 2));
        if let Some(last_seq) = next.map(|next| next - 1).filter(|last| *last > before) {
            let reason = GapReason::Unreadable;
            gaps.push(NewGap {
                epoch: segment.epoch,
                first_seq: before + 1,
                last_seq,
                reason,
                series: vec![],
            });
        }
    };
    while readings.len() < limit {
        match segment.next(bytes, end, boot) {
            None => break,
            Some(SegmentItem::Rotten(to, looks_begun)) => {
                rotten = Some(looks_begun);
                end = to;
            }
            Some(SegmentItem::Reading(kept, to)) => {
                if let Some(looks_begun) = rotten.take() {
                    hole(before, Some(kept.number.seq), looks_begun);
                }
                before = kept.number.seq;
                end = to;
                readings.push((kept, to));
            }
        }
    }
    if let Some(looks_begun) = rotten {
        hole(before, upper, looks_begun);
    }
    ReadAhead { readings, gaps }
}
