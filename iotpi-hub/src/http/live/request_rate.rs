//! The rate limit for messages of a live client.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Maximum number of messages at once.
const MAX_BURST: u32 = 64;
/// Time until one more message is allowed: 20 a second. A dashboard sends a few when it starts, then one every few seconds.
const REFILL_INTERVAL: Duration = Duration::from_millis(50);

/// The token bucket of one client, for pings and requests. Acknowledgements of frames do not count: they answer the hub.
///
/// While the bucket is empty the client is not read, so its messages wait on its own side of the connection.
#[derive(Debug)]
pub(super) struct RequestRate {
    tokens: u32,
    refilled_at: Instant,
}

impl RequestRate {
    pub(super) fn new() -> Self {
        Self { tokens: MAX_BURST, refilled_at: Instant::now() }
    }

    /// Takes the token of one message.
    pub(super) fn take(&mut self) {
        self.refill();
        self.tokens = self.tokens.saturating_sub(1);
    }

    /// Whether the client may be read.
    pub(super) fn allows_reading(&mut self) -> bool {
        self.refill();
        self.tokens > 0
    }

    /// Waits until the client may be read again.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn refilled(&self) {
        sleep(REFILL_INTERVAL.saturating_sub(self.refilled_at.elapsed())).await;
    }

    fn refill(&mut self) {
        let periods = self.refilled_at.elapsed().as_millis() / REFILL_INTERVAL.as_millis();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(periods) >= MAX_BURST {
            *self = Self::new();
        } else {
            self.tokens += periods;
            self.refilled_at += REFILL_INTERVAL * periods;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_allowed_and_then_twenty_messages_a_second() {
        let mut rate = RequestRate::new();
        for _ in 0..MAX_BURST {
            assert!(rate.allows_reading());
            rate.take();
        }
        assert!(!rate.allows_reading());

        let mut taken = 0;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            rate.refilled().await;
            while rate.allows_reading() {
                rate.take();
                taken += 1;
            }
        }
        assert!((199..=201).contains(&taken), "{taken}");

        advance(Duration::from_secs(3600)).await;
        for _ in 0..MAX_BURST {
            assert!(rate.allows_reading());
            rate.take();
        }
        assert!(!rate.allows_reading());
    }
}
