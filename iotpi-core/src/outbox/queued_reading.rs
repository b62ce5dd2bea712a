//! A reading in the outbox: with its number, and with the known facts about its time.

use std::time::Duration;

use crate::{
    model::{
        id::{Channel, ModuleId},
        new_reading::{MAX_AGE_SECS, NewReading},
        reading::{Outcome, Quantity, Reading, SeqNo},
    },
    time::{Clock, Timestamp},
};

/// A reading in the queue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueuedReading {
    pub number: SeqNo,
    pub quantity: Quantity,
    pub channel: Option<Channel>,
    pub outcome: Outcome,
    pub taken: TakenAt,
}

/// The known facts about the time of a reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TakenAt {
    /// The wall time, if that clock was set.
    pub wall: Option<Timestamp>,
    /// The monotonic time of this boot; `None` after a reboot.
    pub monotonic: Option<Duration>,
}

impl TakenAt {
    /// The facts about a reading that arrives now with the time `at`.
    pub fn stamped(at: Timestamp, clock: &dyn Clock) -> Self {
        let waited = clock.now().since(at);
        Self {
            wall: (clock.is_set() && at.is_valid()).then_some(at),
            monotonic: Some(clock.monotonic().saturating_sub(waited)),
        }
    }

    /// Its age, if the monotonic time is known.
    pub fn age(self, clock: &dyn Clock) -> Option<Duration> {
        self.monotonic.map(|then| clock.monotonic().saturating_sub(then))
    }

    /// Its time for a gap: by the wall clock of then, otherwise by the current one, once that is set.
    pub fn at(self, clock: &dyn Clock) -> Option<Timestamp> {
        let placed = || self.age(clock).filter(|_| clock.is_set()).map(|age| clock.now().minus(age));
        self.wall.or_else(placed).filter(|at| at.is_valid())
    }
}

impl QueuedReading {
    /// A reading that arrives now.
    pub fn new(reading: Reading, number: SeqNo, clock: &dyn Clock) -> Self {
        let taken = TakenAt::stamped(reading.taken_at, clock);
        let Reading { quantity, channel, outcome, .. } = reading;
        Self { number, quantity, channel, outcome, taken }
    }

    /// The reading as it is sent now: with its time if the wall clock was set then, otherwise with its age,
    /// otherwise with neither; the hub then uses the time of arrival.
    pub fn to_send(&self, module_id: &ModuleId, clock: &dyn Clock) -> NewReading {
        let age = || self.taken.age(clock).map(|age| age.as_secs_f64()).filter(|age| *age <= MAX_AGE_SECS);
        NewReading {
            kind: Some(self.quantity.name()),
            channel: self.channel.clone(),
            unit: Some(self.quantity.unit()),
            reason: self.outcome.reason().map(str::to_owned),
            timestamp: self.taken.wall,
            age: if self.taken.wall.is_some() { None } else { age() },
            epoch: Some(self.number.epoch),
            seq: Some(self.number.seq),
            ..NewReading::new(module_id.clone(), self.outcome.value())
        }
    }
}
