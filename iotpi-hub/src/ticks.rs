//! The interval of a periodic background task, which ends when the hub stops.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

/// Ticks until the hub stops.
#[derive(Debug)]
pub(crate) struct Ticks {
    interval: Interval,
    stop: CancellationToken,
}

impl Ticks {
    /// Ticks now, and then at the interval.
    pub(crate) fn new(every: Duration, stop: &CancellationToken) -> Self {
        Self::after(Duration::ZERO, every, stop)
    }

    /// Ticks after the delay, and then at the interval.
    pub(crate) fn after(delay: Duration, every: Duration, stop: &CancellationToken) -> Self {
        let mut interval = interval_at(Instant::now() + delay, every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, stop: stop.clone() }
    }

    /// Waits for the next tick. `false`: the hub stops.
    pub(crate) async fn next(&mut self) -> bool {
        self.next_or(pending()).await
    }

    /// Waits for the next tick or an event. `false`: the hub stops.
    pub(crate) async fn next_or(&mut self, event: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            _ = self.interval.tick() => true,
            () = event => true,
        }
    }
}
