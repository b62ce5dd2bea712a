//! The frame interval of a camera that has no hardware timing.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// An interval at a frame rate. Missed ticks are skipped.
#[derive(Debug)]
pub(super) struct FrameInterval {
    period: Duration,
    /// Created at the first tick, because a tokio timer can only be created inside its runtime.
    interval: Option<Interval>,
}

impl FrameInterval {
    /// An interval of `fps` frames a second.
    pub fn new(fps: f64) -> Self {
        let period = Duration::try_from_secs_f64(1.0 / fps).unwrap_or(Duration::from_secs(1));
        Self { period: period.max(Duration::from_millis(1)), interval: None }
    }

    /// Waits for the next tick; the first is immediate. Cancel safe.
    pub async fn tick(&mut self) -> Instant {
        self.interval
            .get_or_insert_with(|| {
                let mut interval = interval(self.period);
                interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
                interval
            })
            .tick()
            .await
    }
}
