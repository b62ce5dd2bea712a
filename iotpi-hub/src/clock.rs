//! The hub's two clocks read together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use iotpi_core::{Clock, Timestamp};

use crate::{
    store::{Now, Steady},
    wrong_clock::WrongClock,
};

/// Makes a [`Now`] of a [`Clock`]: steady time is the wall time at the start plus the monotonic time since.
///
/// A wall clock that was not set yet shows [`Timestamp::FIRST_POSSIBLE`] and stands still: everybody can read that time, and
/// nobody takes it for the present.
#[derive(Debug, Clone)]
pub(crate) struct HubClock {
    clock: Arc<dyn Clock>,
    wall_at_start: Timestamp,
    /// What credential time was at the start.
    credentials_at_start: Timestamp,
    monotonic_at_start: Duration,
    was_set: Arc<AtomicBool>,
}

impl HubClock {
    /// `newest` is the newest [credential time](Self::credential_time) that an earlier start remembered.
    pub(crate) fn new(clock: Arc<dyn Clock>, newest: Option<Timestamp>) -> Self {
        let wall_at_start = possible(clock.now());
        Self {
            credentials_at_start: newest.map_or(wall_at_start, |newest| newest.max(wall_at_start)),
            wall_at_start,
            monotonic_at_start: clock.monotonic(),
            was_set: Arc::default(),
            clock,
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall: possible(self.clock.now()), steady: Steady(self.wall_at_start.plus(self.uptime())) }
    }

    /// What the life of sessions, JWTs and signed URLs is measured in: steady, and across starts of the hub it never goes back. A
    /// wall clock that shows an earlier time at the start is not believed.
    pub(crate) fn credential_time(&self) -> Steady {
        Steady(self.credentials_at_start.plus(self.uptime()))
    }

    /// Whether the wall clock shows a time that can be true.
    pub(crate) fn is_possible(&self) -> bool {
        self.clock.now() >= Timestamp::FIRST_POSSIBLE
    }

    /// Whether the wall clock can be believed: see [`Clock::is_set`]. Once it was set, only its time is looked at: the rest
    /// takes system calls.
    pub(crate) fn is_set(&self) -> bool {
        let was_set = self.was_set.load(Relaxed) || self.clock.is_set();
        self.was_set.fetch_or(was_set, Relaxed);
        was_set && self.is_possible()
    }

    /// Looks whether the wall clock was set; answers by how much, in seconds.
    pub(crate) fn look_for_a_step(&self, watch: &WrongClock) -> Option<f64> {
        watch.look(&*self.clock)
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.monotonic_at_start)
    }
}

fn possible(wall: Timestamp) -> Timestamp {
    wall.max(Timestamp::FIRST_POSSIBLE)
}
