//! The hub's two clocks read together.

use std::{sync::Arc, time::Duration};

use iotpi_core::{Clock, Timestamp};

use crate::store::{Now, Steady};

/// Makes a [`Now`] of a [`Clock`]: steady time is the wall time at the start plus the monotonic time since.
#[derive(Debug, Clone)]
pub(crate) struct HubClock {
    clock: Arc<dyn Clock>,
    wall_at_start: Timestamp,
    monotonic_at_start: Duration,
}

impl HubClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { wall_at_start: clock.now(), monotonic_at_start: clock.monotonic(), clock }
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall: self.clock.now(), steady: Steady(self.wall_at_start.plus(self.uptime())) }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.monotonic_at_start)
    }
}
