//! A reading as it waits in a module: with its number, and with what is known of when it was taken.

use std::time::Duration;

use crate::{
    model::{
        id::ModuleId,
        new_reading::{MAX_AGE_SECS, NewReading},
        reading::{Outcome, Quantity, Reading, SeqNo},
    },
    time::{Clock, Timestamp},
};

/// A reading that waits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueuedReading {
    pub number: SeqNo,
    pub quantity: Quantity,
    pub outcome: Outcome,
    pub taken: TakenAt,
}

/// When a reading was taken, as far as that is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TakenAt {
    /// By the wall clock, if it was set then.
    pub wall: Option<Timestamp>,
    /// By the monotonic clock of this boot; nothing once the machine has booted since.
    pub monotonic: Option<Duration>,
}

impl TakenAt {
    /// What is known of a reading that comes in now with the time `at` on it.
    pub fn stamped(at: Timestamp, clock: &dyn Clock) -> Self {
        let waited = clock.now().since(at);
        Self {
            wall: (clock.is_set() && at.is_valid()).then_some(at),
            monotonic: Some(clock.monotonic().saturating_sub(waited)),
        }
    }

    /// How long ago it was, if the monotonic clock knows.
    pub fn age(self, clock: &dyn Clock) -> Option<Duration> {
        self.monotonic.map(|then| clock.monotonic().saturating_sub(then))
    }

    /// When it was, for a gap: by the wall clock of then, else by that of now, once it is set.
    pub fn at(self, clock: &dyn Clock) -> Option<Timestamp> {
        let placed = || self.age(clock).filter(|_| clock.is_set()).map(|age| clock.now().minus(age));
        self.wall.or_else(placed).filter(|at| at.is_valid())
    }
}

impl QueuedReading {
    /// A reading that comes in now.
    pub fn new(reading: Reading, number: SeqNo, clock: &dyn Clock) -> Self {
        let taken = TakenAt::stamped(reading.taken_at, clock);
        Self { number, quantity: reading.quantity, outcome: reading.outcome, taken }
    }

    /// The reading as it is sent now: with its time if the wall clock was set when it was taken, else with its age, else
    /// with neither, and the hub says when it came.
    pub fn to_send(&self, module_id: &ModuleId, clock: &dyn Clock) -> NewReading {
        let age = || self.taken.age(clock).map(|age| age.as_secs_f64()).filter(|age| *age <= MAX_AGE_SECS);
        NewReading {
            kind: Some(self.quantity.name()),
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
