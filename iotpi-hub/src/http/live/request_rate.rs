//! How fast a live client may send what costs the hub something.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// This many messages may come at once...
const MAX_BURST: u32 = 64;
/// ...and then one in this time: 20 a second. A dashboard sends a few at its start, then one every few seconds.
const REFILL: Duration = Duration::from_millis(50);

/// A client's allowance of pings and requests. Acknowledged pictures are not counted: the hub sent them, and is answered.
///
/// When it is used up the client is not read until there is more, so what it sends waits on its own side of the connection.
#[derive(Debug)]
pub(super) struct RequestRate {
    left: u32,
    refilled_at: Instant,
}

impl RequestRate {
    pub(super) fn new() -> Self {
        Self { left: MAX_BURST, refilled_at: Instant::now() }
    }

    /// Takes one message's worth.
    pub(super) fn spend(&mut self) {
        self.refill();
        self.left = self.left.saturating_sub(1);
    }

    /// Whether the client may be read.
    pub(super) fn is_open(&mut self) -> bool {
        self.refill();
        self.left > 0
    }

    /// Waits until it is open again.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn opens(&self) {
        sleep(REFILL.saturating_sub(self.refilled_at.elapsed())).await;
    }

    fn refill(&mut self) {
        let periods = self.refilled_at.elapsed().as_millis() / REFILL.as_millis();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        if self.left.saturating_add(periods) >= MAX_BURST {
            *self = Self::new();
        } else {
            self.left += periods;
            self.refilled_at += REFILL * periods;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_taken_and_then_twenty_a_second() {
        let mut pace = RequestRate::new();
        for _ in 0..MAX_BURST {
            assert!(pace.is_open());
            pace.spend();
        }
        assert!(!pace.is_open());

        let mut taken = 0;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            pace.opens().await;
            while pace.is_open() {
                pace.spend();
                taken += 1;
            }
        }
        assert!((199..=201).contains(&taken), "{taken}");

        advance(Duration::from_secs(3600)).await;
        for _ in 0..MAX_BURST {
            assert!(pace.is_open());
            pace.spend();
        }
        assert!(!pace.is_open());
    }
}
