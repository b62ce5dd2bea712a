//! The hub's two clocks read together.

use std::{sync::Arc, time::Duration};

use iotpi_core::{Clock, Timestamp};

use crate::store::{Now, Steady};

/// Makes a [`Now`] of a [`Clock`]: steady time is the wall time at the start plus the monotonic time since.
///
/// A wall clock that was not set yet shows [`Timestamp::FIRST_POSSIBLE`] and stands still: everybody can read that time, and
/// nobody takes it for the present.
#[derive(Debug, Clone)]
pub(crate) struct HubClock {
    clock: Arc<dyn Clock>,
    wall_at_start: Timestamp,
    monotonic_at_start: Duration,
}

impl HubClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { wall_at_start: possible(clock.now()), monotonic_at_start: clock.monotonic(), clock }
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall: possible(self.clock.now()), steady: Steady(self.wall_at_start.plus(self.uptime())) }
    }

    /// Whether the wall clock shows a time that can be true.
    pub(crate) fn is_possible(&self) -> bool {
        self.clock.now() >= Timestamp::FIRST_POSSIBLE
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.monotonic_at_start)
    }
}

fn possible(wall: Timestamp) -> Timestamp {
    wall.max(Timestamp::FIRST_POSSIBLE)
}
