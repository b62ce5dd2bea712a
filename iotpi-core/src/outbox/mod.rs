//! The outbox: readings that the hub has not acknowledged, each with its number.
//!
//! A reading is numbered when it arrives and enters the live queue in memory, from which it is sent at once.
//! Readings that have waited there for 5 s, and those beyond one batch, spill to the backlog: in memory,
//! bounded, or on disk if the module has a directory. A card is therefore written to only while the hub does
//! not answer. Lost readings are known by their numbers: a gap, which is queued for its report.
//!
//! Deliberately absent: storing each acknowledgement. Readings that were acknowledged and are still on disk
//! after a kill are sent again, and the hub recognizes them by their numbers.

mod backlog;
mod checkpoint;
mod crc32;
mod disk;
mod gaps;
pub(crate) mod limits;
mod queued_reading;
mod record;
mod recovery;
mod segment;
pub(crate) mod sender;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

pub use self::limits::{DEFAULT_OUTBOX_CAPACITY, OutboxError, OutboxLimits};
pub(crate) use self::queued_reading::QueuedReading;
use self::{
    backlog::{Backlog, Memory},
    checkpoint::{Checkpoint, CheckpointData},
    disk::Disk,
    gaps::gaps_of,
};
use crate::{
    model::{
        gap::{GapReason, NewGap},
        id::ModuleId,
        reading::{MAX_SEQ, Reading, SeqNo},
    },
    random,
    time::Clock,
};

/// The capacity of the live queue: one request.
pub(crate) const BATCH: usize = 500;
/// The time after which a reading spills from the live queue to the backlog.
const SPILL_AFTER: Duration = Duration::from_secs(5);

/// The queues of a module.
#[derive(Debug)]
pub(crate) struct Outbox {
    epoch: u64,
    clock: Arc<dyn Clock>,
    on_disk: bool,
    max_live: usize,
    /// Locked briefly.
    live: Mutex<LiveQueue>,
    /// Locked across reads and writes of the disk, by threads that may block. Never locked while `live` is
    /// held.
    backlog: Mutex<Backlog>,
    pub live_added: Notify,
    pub backlog_added: Notify,
}

/// The live queue.
#[derive(Debug)]
struct LiveQueue {
    next_seq: u64,
    /// Ordered by number.
    waiting: VecDeque<(Instant, QueuedReading)>,
    /// The first number of the batch in flight.
    flying: Option<u64>,
    mark: Option<Checkpoint>,
}

/// A batch of the newest readings in flight.
pub(crate) type Batch = Vec<(Instant, QueuedReading)>;

/// 53 random bits, not zero.
fn new_epoch() -> u64 {
    (random::bits() & MAX_SEQ).max(1)
}

impl Outbox {
    /// Creates an outbox of up to `capacity` readings, at least 2, in memory.
    pub fn in_memory(capacity: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        let max_fresh = (capacity / 2).clamp(1, BATCH);
        let backlog = Backlog::Memory(Memory::new(capacity.saturating_sub(max_fresh).max(1), clock.clone()));
        Self::new(new_epoch(), 1, max_fresh, backlog, clock, None)
    }

    /// Opens an outbox in this directory. Blocks.
    pub fn on_disk(
        folder: &Path,
        module_id: &ModuleId,
        limits: OutboxLimits,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, OutboxError> {
        let (disk, next_seq) = Disk::open(folder, module_id, limits, clock.clone())?;
        let epoch = disk.epoch();
        let mark = Checkpoint::open(epoch, CheckpointData { first: next_seq, next: next_seq });
        if let Err(error) = &mark {
            tracing::debug!(%error, "no shared memory: after a kill the readings are counted anew");
        }
        Ok(Self::new(epoch, next_seq, BATCH, Backlog::Disk(Box::new(disk)), clock, mark.ok()))
    }

    fn new(
        epoch: u64,
        next_seq: u64,
        max_fresh: usize,
        backlog: Backlog,
        clock: Arc<dyn Clock>,
        mark: Option<Checkpoint>,
    ) -> Arc<Self> {
        Arc::new(Self {
            epoch,
            clock,
            on_disk: matches!(backlog, Backlog::Disk(_)),
            max_live: max_fresh,
            live: Mutex::new(LiveQueue { next_seq, waiting: VecDeque::new(), flying: None, mark }),
            backlog: Mutex::new(backlog),
            live_added: Notify::new(),
            backlog_added: Notify::new(),
        })
    }

    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Numbers readings and queues them. Readings beyond the capacity of the live queue are in the backlog
    /// when it returns.
    pub async fn push(self: &Arc<Self>, readings: Vec<Reading>) {
        let is_full = {
            let mut fresh = self.live();
            let now = Instant::now();
            for reading in readings {
                let number = SeqNo { epoch: self.epoch, seq: fresh.next_seq };
                fresh.next_seq += 1;
                fresh.waiting.push_back((now, QueuedReading::new(reading, number, self.clock())));
            }
            fresh.write_checkpoint();
            fresh.waiting.len() > self.max_live
        };
        self.live_added.notify_one();
        if is_full {
            self.blocking(|outbox| outbox.spill()).await;
        }
    }

    pub fn is_on_disk(&self) -> bool {
        self.on_disk
    }

    pub fn has_live(&self) -> bool {
        !self.live().waiting.is_empty()
    }

    /// Checks out the newest readings, ordered by number. They are in flight until [`Self::nack_live`].
    pub fn checkout_live(&self) -> Batch {
        let mut fresh = self.live();
        let older = fresh.waiting.len().saturating_sub(BATCH);
        let newest: Batch = fresh.waiting.drain(older..).collect();
        fresh.flying = newest.first().map(|(_, kept)| kept.number.seq);
        newest
    }

    /// Ends the batch in flight: these readings are queued again; the others were acknowledged or reported as
    /// lost.
    pub fn nack_live(&self, unsettled: Batch) {
        let mut fresh = self.live();
        fresh.flying = None;
        if !unsettled.is_empty() {
            fresh.waiting.extend(unsettled);
            fresh.waiting.make_contiguous().sort_by_key(|(_, kept)| kept.number.seq);
        }
        fresh.write_checkpoint();
    }

    /// Whether there are readings in the backlog, and gaps to report.
    pub async fn pending(self: &Arc<Self>) -> (bool, bool) {
        let looked = self.blocking(|outbox| {
            let backlog = outbox.backlog();
            (backlog.len() > 0, backlog.has_gaps())
        });
        looked.await.unwrap_or_default()
    }

    /// Checks out a copy of the oldest readings of the backlog. They are in flight until [`Self::ack`].
    pub async fn checkout(self: &Arc<Self>) -> Vec<QueuedReading> {
        self.blocking(|outbox| outbox.backlog().checkout(BATCH)).await.unwrap_or_default()
    }

    /// Ends the batch in flight: its first `settled` readings were acknowledged or reported as lost.
    pub async fn ack(self: &Arc<Self>, settled: usize) {
        self.blocking(move |outbox| {
            let mut backlog = outbox.backlog();
            backlog.ack(settled);
            backlog.nack();
        })
        .await;
    }

    /// Records that the hub refuses this reading permanently.
    pub async fn refuse(self: &Arc<Self>, kept: QueuedReading) {
        self.blocking(move |outbox| {
            let gaps = gaps_of([&kept], GapReason::Refused, outbox.clock());
            outbox.backlog().add_gaps(gaps);
        })
        .await;
        self.backlog_added.notify_one();
    }

    /// The oldest unreported gap.
    pub async fn next_gap(self: &Arc<Self>) -> Option<NewGap> {
        self.blocking(|outbox| outbox.backlog().next_gap()).await.flatten()
    }

    /// Records that a gap was reported.
    pub async fn gap_reported(self: &Arc<Self>, gap: NewGap) {
        self.blocking(move |outbox| outbox.backlog().gap_reported(&gap)).await;
    }

    /// To be called about every second: spills old readings to the backlog, syncs, and drops readings beyond
    /// the maximum age.
    pub async fn maintain(self: &Arc<Self>) {
        let oldest = self.live().waiting.front().map(|(since, _)| *since);
        let is_waiting = oldest.is_some_and(|since| since.elapsed() >= SPILL_AFTER);
        if !is_waiting && !self.on_disk {
            return;
        }
        self.blocking(move |outbox| {
            if is_waiting {
                outbox.spill();
            }
            if let Backlog::Disk(disk) = &mut *outbox.backlog() {
                disk.drop_old();
                if disk.is_unsynced() {
                    disk.sync(false);
                }
            }
        })
        .await;
    }

    /// Closes the outbox; unsent readings are on disk, if there is a directory. Returns the number of queued
    /// and of lost readings.
    pub async fn close(self: &Arc<Self>) -> (u64, u64) {
        self.blocking(|outbox| {
            outbox.live().flying = None;
            let left = if outbox.on_disk { outbox.spill() } else { outbox.live().waiting.len() };
            let (mut backlog, mut fresh) = (outbox.backlog(), outbox.live());
            match &mut *backlog {
                Backlog::Disk(disk) if left == 0 => match disk.close(fresh.next_seq) {
                    Ok(()) => {
                        if let Some(mark) = fresh.mark.take() {
                            mark.remove();
                        }
                    }
                    Err(error) => tracing::error!(%error, "the outbox did not end in order"),
                },
                // Readings that could not be written stay marked as being in memory; the next start reports
                // them.
                Backlog::Disk(disk) => disk.sync(true),
                Backlog::Memory(_) => {}
            }
            (backlog.len() + left as u64, backlog.lost())
        })
        .await
        .unwrap_or_default()
    }

    /// Spills the live queue to the backlog. Returns the number of readings that could not be written.
    /// Blocks.
    fn spill(&self) -> usize {
        let mut backlog = self.backlog();
        let waiting: Vec<_> = self.live().waiting.drain(..).collect();
        let readings: Vec<_> = waiting.iter().map(|(_, kept)| kept.clone()).collect();
        let appended = backlog.append(&readings);
        let mut fresh = self.live();
        if let Err((taken, error)) = appended {
            tracing::error!(%error, waiting = waiting.len() - taken, "readings cannot be written to the outbox");
            let newer = std::mem::take(&mut fresh.waiting);
            fresh.waiting = waiting.into_iter().skip(taken).chain(newer).collect();
            // If the disk accepts nothing, the readings stay in memory, which is bounded, too.
            let excess = fresh.waiting.len().saturating_sub(DEFAULT_OUTBOX_CAPACITY);
            let dropped: Vec<_> = fresh.waiting.drain(..excess).map(|(_, kept)| kept).collect();
            fresh.write_checkpoint();
            let left = fresh.waiting.len();
            drop(fresh);
            backlog.add_gaps(gaps_of(&dropped, GapReason::Full, self.clock()));
            return left;
        }
        fresh.write_checkpoint();
        drop(fresh);
        drop(backlog);
        self.backlog_added.notify_one();
        0
    }

    /// Runs an operation on the backlog, on a blocking thread if there is a directory.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        if !self.on_disk {
            return Some(act(self));
        }
        let outbox = self.clone();
        // It fails only when the runtime shuts down or `act` panicked.
        tokio::task::spawn_blocking(move || act(&outbox)).await.ok()
    }

    fn live(&self) -> MutexGuard<'_, LiveQueue> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveQueue {
    /// Best effort: without the checkpoint a kill loses the numbering, not the readings.
    fn write_checkpoint(&mut self) {
        let waiting = self.waiting.front().map(|(_, kept)| kept.number.seq);
        let first = waiting.into_iter().chain(self.flying).min().unwrap_or(self.next_seq);
        if let Some(mark) = &self.mark
            && mark.write(CheckpointData { first, next: self.next_seq }).is_err()
        {
            // An old checkpoint would assign numbers twice.
            if let Some(mark) = self.mark.take() {
                mark.remove();
            }
        }
    }
}
