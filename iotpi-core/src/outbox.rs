//! Readings that wait for the hub.
//!
//! In memory and bounded: when it is full the oldest reading goes, and is counted. The place for an outbox on disk is
//! here: it needs the same four verbs.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::Reading;

/// How many readings wait at most, unless said otherwise: some hours of one sensor at 1 Hz, a few megabytes.
pub const DEFAULT_OUTBOX_CAPACITY: usize = 10_000;

/// A bounded queue of readings, oldest first.
#[derive(Debug)]
pub struct Outbox {
    capacity: usize,
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    readings: VecDeque<Reading>,
    /// The number of the reading at the front: how many left before it.
    first: u64,
    lost: u64,
}

/// Some of the oldest readings, to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Oldest first.
    pub readings: Vec<Reading>,
    first: u64,
}

impl Outbox {
    /// An empty outbox for so many readings, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), waiting: Mutex::default(), filled: Notify::new() }
    }

    /// Takes readings in; drops and counts the oldest when there is no room.
    pub fn push(&self, readings: impl IntoIterator<Item = Reading>) {
        let mut waiting = self.lock();
        for reading in readings {
            if waiting.readings.len() == self.capacity {
                waiting.readings.pop_front();
                waiting.first += 1;
                waiting.lost += 1;
            }
            waiting.readings.push_back(reading);
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Copies out up to `limit` of the oldest readings; waits until there is one.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is taken out.
    pub async fn oldest(&self, limit: usize) -> Batch {
        loop {
            let filled = self.filled.notified();
            if let Some(batch) = self.try_oldest(limit) {
                return batch;
            }
            filled.await;
        }
    }

    /// Copies out up to `limit` of the oldest readings, if there are any.
    #[must_use]
    pub fn try_oldest(&self, limit: usize) -> Option<Batch> {
        let waiting = self.lock();
        let readings: Vec<_> = waiting.readings.iter().take(limit).cloned().collect();
        (!readings.is_empty()).then_some(Batch { readings, first: waiting.first })
    }

    /// Takes out what was sent; what was dropped meanwhile is not taken twice.
    pub fn confirm(&self, sent: &Batch) {
        let mut waiting = self.lock();
        let end = sent.first + sent.readings.len() as u64;
        while waiting.first < end && waiting.readings.pop_front().is_some() {
            waiting.first += 1;
        }
    }

    /// Takes out a batch that nobody will ever take, and counts it.
    pub fn discard(&self, refused: &Batch) {
        let before = self.lock().first;
        self.confirm(refused);
        let mut waiting = self.lock();
        waiting.lost += waiting.first - before;
    }

    /// How many readings wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().readings.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many readings were dropped or refused since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModuleId, Quantity, Sample, Timestamp};

    fn reading(value: u32) -> Reading {
        let sample = Sample::new(Quantity::Temperature, value.into());
        Reading::new(ModuleId::new("a").unwrap(), sample, Timestamp::MIN)
    }

    fn values(batch: &Batch) -> Vec<f64> {
        batch.readings.iter().filter_map(|r| r.outcome.value()).collect()
    }

    #[test]
    fn the_oldest_goes_first_and_stays_until_confirmed() {
        let outbox = Outbox::new(10);
        outbox.push((0..5).map(reading));

        let batch = outbox.try_oldest(2).unwrap();
        assert_eq!(outbox.try_oldest(2), Some(batch.clone()));
        outbox.confirm(&batch);

        assert_eq!(values(&outbox.try_oldest(10).unwrap()), [2.0, 3.0, 4.0]);
        assert_eq!(outbox.lost(), 0);
    }

    #[test]
    fn a_full_outbox_drops_the_oldest_and_counts_it() {
        let outbox = Outbox::new(3);

        outbox.push((0..5).map(reading));

        assert_eq!(values(&outbox.try_oldest(10).unwrap()), [2.0, 3.0, 4.0]);
        assert_eq!(outbox.lost(), 2);
    }

    #[test]
    fn what_was_dropped_while_it_was_sent_is_not_taken_twice() {
        let outbox = Outbox::new(3);
        outbox.push((0..3).map(reading));
        let batch = outbox.try_oldest(2).unwrap();

        outbox.push([reading(3)]);
        outbox.confirm(&batch);

        assert_eq!(values(&outbox.try_oldest(10).unwrap()), [2.0, 3.0]);
    }

    #[tokio::test]
    async fn a_waiting_sender_wakes_for_the_first_reading() {
        let outbox = std::sync::Arc::new(Outbox::new(3));
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.oldest(10).await }
        });

        outbox.push([reading(7)]);

        assert_eq!(values(&waiting.await.unwrap()), [7.0]);
    }
}
