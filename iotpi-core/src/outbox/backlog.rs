//! The readings behind the live queue: in memory, or on disk.

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

/// Queued readings, oldest first, and unreported gaps. At most one batch of them is in flight.
#[derive(Debug)]
pub(super) enum Backlog {
    Memory(Memory),
    Disk(Box<Disk>),
}

/// A bounded queue in memory.
#[derive(Debug)]
pub(super) struct Memory {
    capacity: usize,
    clock: Arc<dyn Clock>,
    readings: VecDeque<QueuedReading>,
    /// The number of readings in flight, at the front.
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
        // Readings in flight may be arriving at this moment, so they are not dropped.
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
    /// Appends readings in this order. An error includes the number that was appended.
    pub fn append(&mut self, readings: &[QueuedReading]) -> Result<(), (usize, io::Error)> {
        match self {
            Self::Memory(memory) => {
                memory.append(readings);
                Ok(())
            }
            Self::Disk(disk) => disk.append(readings),
        }
    }

    /// Checks out a copy of the oldest readings; they are in flight until [`Self::nack`].
    pub fn checkout(&mut self, limit: usize) -> Vec<QueuedReading> {
        match self {
            Self::Memory(memory) => {
                memory.flying = memory.readings.len().min(limit);
                memory.readings.iter().take(limit).cloned().collect()
            }
            Self::Disk(disk) => disk.checkout(limit),
        }
    }

    /// Acknowledges the first `count` readings in flight: they were delivered or reported as lost.
    pub fn ack(&mut self, count: usize) {
        match self {
            Self::Memory(memory) => {
                memory.readings.drain(..count.min(memory.flying));
                memory.flying = memory.flying.saturating_sub(count);
            }
            Self::Disk(disk) => disk.ack(count),
        }
    }

    /// Ends the batch in flight; unacknowledged readings stay queued.
    pub fn nack(&mut self) {
        match self {
            Self::Memory(memory) => memory.flying = 0,
            Self::Disk(disk) => disk.nack(),
        }
    }

    /// Adds gaps.
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

    /// Records that a gap was reported.
    pub fn gap_reported(&mut self, gap: &NewGap) {
        match self {
            Self::Memory(memory) => memory.gaps.reported(gap),
            Self::Disk(disk) => disk.gap_reported(gap),
        }
    }

    /// The number of queued readings.
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

    /// The number of lost readings, as far as this process knows.
    pub fn lost(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.lost,
            Self::Disk(disk) => disk.lost(),
        }
    }
}
