//! The pause before a retry.

use std::time::Duration;

use crate::{random, uplink::UplinkError};

/// The maximum pause, whatever the hub asks for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Exponential back-off with full jitter: the n-th pause is drawn uniformly from zero to `least * 2^n`, at
/// most `most`. A thousand modules that lost the same hub reconnect spread out, not all at once.
///
/// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
///
/// ```
/// use std::time::Duration;
/// use iotpi_core::client::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// let pause = backoff.failed();
/// assert!(pause <= Duration::from_secs(1));
/// backoff.succeeded();
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses of up to `least` at first and `most` at most.
    #[must_use]
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, failures: 0 }
    }

    /// The pause after one more failure.
    pub fn failed(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(unit_interval())
    }

    /// Resets the count of failures.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    fn ceiling(&self) -> Duration {
        self.least.saturating_mul(2u32.saturating_pow(self.failures.min(31))).min(self.most)
    }
}

impl Default for Backoff {
    /// From a quarter of a second to 30 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(30))
    }
}

/// A number from 0 up to, not including, 1.
#[allow(clippy::cast_possible_truncation)]
fn unit_interval() -> f64 {
    f64::from(random::bits() as u32) / (f64::from(u32::MAX) + 1.0)
}

/// The pause after a failure: the time that the hub asks for, plus a back-off with full jitter.
pub(crate) fn pause(backoff: &mut Backoff, error: &UplinkError) -> Duration {
    error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER) + backoff.failed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_restart() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));

        let ceilings: Vec<_> = (0..5)
            .map(|_| {
                let ceiling = backoff.ceiling();
                assert!(backoff.failed() <= ceiling);
                ceiling.as_secs()
            })
            .collect();
        backoff.succeeded();

        assert_eq!(ceilings, [1, 2, 4, 5, 5]);
        assert_eq!(backoff.ceiling().as_secs(), 1);
    }

    #[test]
    fn two_delays_are_rarely_equal() {
        let waits: std::collections::HashSet<_> =
            (0..100).map(|_| Backoff::new(Duration::from_secs(1000), Duration::MAX).failed()).collect();

        assert!(waits.len() > 90);
    }
}
