//! The hub's two times, read together.

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

/// Derives a [`Now`] from a [`Clock`]: steady time is the wall time at the start plus the monotonic time
/// since.
///
/// A wall clock that was not set yet shows [`Timestamp::FIRST_POSSIBLE`] and stands still: the time is
/// readable, and obviously not the current one.
#[derive(Debug, Clone)]
pub(crate) struct HubClock {
    clock: Arc<dyn Clock>,
    wall_at_start: Timestamp,
    /// The credential time at the start.
    credentials_at_start: Timestamp,
    monotonic_at_start: Duration,
    was_set: Arc<AtomicBool>,
}

impl HubClock {
    /// `newest` is the newest [credential time](Self::credential_time) that an earlier start saved.
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

    /// The time in which the life of sessions, JWTs and signed URLs is measured: steady, and it never goes
    /// back across starts of the hub. A wall clock that shows an earlier time at the start is not trusted.
    pub(crate) fn credential_time(&self) -> Steady {
        Steady(self.credentials_at_start.plus(self.uptime()))
    }

    /// Whether the wall clock shows a possible time.
    pub(crate) fn is_possible(&self) -> bool {
        self.clock.now() >= Timestamp::FIRST_POSSIBLE
    }

    /// Whether the wall clock can be trusted: see [`Clock::is_set`]. Once it was set, only its time is
    /// checked: the rest takes system calls.
    pub(crate) fn is_set(&self) -> bool {
        let was_set = self.was_set.load(Relaxed) || self.clock.is_set();
        self.was_set.fetch_or(was_set, Relaxed);
        was_set && self.is_possible()
    }

    /// Detects whether the wall clock was adjusted; returns by how many seconds.
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
