//! What waits behind the live lane: in memory, or on disk.

use std::{collections::VecDeque, io, sync::Arc};

use super::{
    disk::Disk,
    gaps::{Gaps, gaps_of},
    queued_reading::QueuedReading,
};
use crate::{
    model::gap::{GapReason, NewGap},
    time::Clock,
};

/// Readings that wait, oldest first, and gaps to be told. At most one batch of them is under way.
#[derive(Debug)]
pub(super) enum Backlog {
    Memory(Memory),
    Disk(Box<Disk>),
}

/// A bounded queue.
#[derive(Debug)]
pub(super) struct Memory {
    capacity: usize,
    clock: Arc<dyn Clock>,
    readings: VecDeque<QueuedReading>,
    /// How many at the front are under way.
    flying: usize,
    gaps: Gaps,
    lost: u64,
}

impl Memory {
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self { capacity, clock, readings: VecDeque::new(), flying: 0, gaps: Gaps::default(), lost: 0 }
    }

    fn append(&mut self, readings: &[QueuedReading]) {
        self.readings.extend(readings.iter().cloned());
        // What is under way may just be arriving.
        let excess = self.readings.len().saturating_sub(self.capacity.max(self.flying));
        let dropped: Vec<_> = self.readings.drain(self.flying..self.flying + excess).collect();
        self.lose(gaps_of(&dropped, GapReason::Full, self.clock.as_ref()));
    }

    fn lose(&mut self, gaps: impl IntoIterator<Item = NewGap>) {
        for gap in gaps {
            self.lost += gap.lost();
            self.gaps.add(gap);
        }
    }
}

impl Backlog {
    /// Takes readings in, in this order. On failure also says how many it took.
    pub fn append(&mut self, readings: &[QueuedReading]) -> Result<(), (usize, io::Error)> {
        match self {
            Self::Memory(memory) => {
                memory.append(readings);
                Ok(())
            }
            Self::Disk(disk) => disk.append(readings),
        }
    }

    /// Copies out the oldest; they are under way until [`Self::land`].
    pub fn checkout(&mut self, limit: usize) -> Vec<QueuedReading> {
        match self {
            Self::Memory(memory) => {
                memory.flying = memory.readings.len().min(limit);
                memory.readings.iter().take(limit).cloned().collect()
            }
            Self::Disk(disk) => disk.checkout(limit),
        }
    }

    /// The first `count` of those under way are the hub's, or said to be lost.
    pub fn ack(&mut self, count: usize) {
        match self {
            Self::Memory(memory) => {
                memory.readings.drain(..count.min(memory.flying));
                memory.flying = memory.flying.saturating_sub(count);
            }
            Self::Disk(disk) => disk.ack(count),
        }
    }

    /// The batch under way is over; what is not settled waits on.
    pub fn nack(&mut self) {
        match self {
            Self::Memory(memory) => memory.flying = 0,
            Self::Disk(disk) => disk.nack(),
        }
    }

    /// Notes losses.
    pub fn add_gaps(&mut self, gaps: Vec<NewGap>) {
        match self {
            Self::Memory(memory) => memory.lose(gaps),
            Self::Disk(disk) => disk.add_gaps(gaps),
        }
    }

    pub fn next_gap(&mut self) -> Option<NewGap> {
        match self {
            Self::Memory(memory) => memory.gaps.next(),
            Self::Disk(disk) => disk.next_gap(),
        }
    }

    /// The hub knows a gap.
    pub fn gap_reported(&mut self, gap: &NewGap) {
        match self {
            Self::Memory(memory) => memory.gaps.reported(gap),
            Self::Disk(disk) => disk.gap_reported(gap),
        }
    }

    /// How many readings wait.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.readings.len() as u64,
            Self::Disk(disk) => disk.len(),
        }
    }

    pub fn has_gaps(&self) -> bool {
        match self {
            Self::Memory(memory) => !memory.gaps.is_empty(),
            Self::Disk(disk) => disk.has_gaps(),
        }
    }

    /// How many readings were lost, as far as this process knows.
    pub fn lost(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.lost,
            Self::Disk(disk) => disk.lost(),
        }
    }
}
