//! The least pace of a transfer: of bodies that arrive, and of answers that are taken.

use std::time::Duration;

use tokio::time::Instant;

/// The least average pace of a body or an answer.
pub(crate) const MIN_BYTES_PER_SEC: u32 = 8 * 1024;
/// How long a body may take beyond that, because packets are lost and sent again.
const BODY_GRACE: Duration = Duration::from_secs(5);
/// How long the other side may take nothing of an answer.
const SEND_GRACE: Duration = Duration::from_secs(20);
/// The same, once the authorization of what is being sent has ended.
const REVOKED_GRACE: Duration = Duration::from_secs(1);

/// The pace of a body that arrives.
#[derive(Debug)]
pub(crate) struct MinimumRate {
    begun: Instant,
    bytes: u64,
}

impl MinimumRate {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), bytes: 0 }
    }

    /// More of the body arrived.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// When the body is too slow if nothing more has arrived by then.
    pub(crate) fn deadline(&self) -> Instant {
        self.begun + BODY_GRACE + time_for(self.bytes)
    }
}

/// How long the other side of a connection may still refuse to take bytes. Time in which nothing has to be sent costs nothing.
#[derive(Debug)]
pub(crate) struct SendCredit {
    left: Duration,
    blocked_since: Option<Instant>,
}

impl SendCredit {
    pub(crate) fn new() -> Self {
        Self { left: SEND_GRACE, blocked_since: None }
    }

    /// The other side took bytes, or takes none now.
    pub(crate) fn wrote(&mut self, bytes: Option<usize>) {
        match (bytes, self.blocked_since) {
            (None, None) => self.blocked_since = Some(Instant::now()),
            (None, Some(_)) => {}
            (Some(bytes), since) => {
                let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
                self.blocked_since = None;
                let earned = time_for(bytes as u64);
                self.left = (self.left.saturating_sub(waited) + earned).min(SEND_GRACE);
            }
        }
    }

    /// The authorization of what is being sent has ended. A client that does not read has a moment left.
    pub(crate) fn revoke(&mut self) {
        self.left = self.left.min(REVOKED_GRACE);
        if let Some(since) = &mut self.blocked_since {
            *since = Instant::now();
        }
    }

    /// When the other side is too slow if it takes nothing more by then; nothing while no bytes wait for it.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.blocked_since.map(|since| since + self.left)
    }
}

fn time_for(bytes: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1000) / u64::from(MIN_BYTES_PER_SEC))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_SEC: usize = MIN_BYTES_PER_SEC as usize;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_keeps_the_pace_may_take_as_long_as_it_needs() {
        let mut rate = MinimumRate::new();

        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(rate.deadline() > Instant::now());
            rate.received(PER_SEC);
        }
        tokio::time::advance(BODY_GRACE).await;

        assert!(rate.deadline() <= Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_takes_a_little_now_and_then_runs_out_of_credit() {
        let mut credit = SendCredit::new();
        let mut taken = 0;

        loop {
            credit.wrote(None);
            tokio::time::advance(Duration::from_secs(2)).await;
            if credit.deadline().unwrap() <= Instant::now() {
                break;
            }
            credit.wrote(Some(PER_SEC));
            taken += 1;
        }

        // Each round costs two seconds and earns one.
        assert!((15..=20).contains(&taken), "{taken}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_keeps_the_pace_and_one_for_which_nothing_waits_are_never_too_slow() {
        let mut credit = SendCredit::new();
        for _ in 0..100 {
            credit.wrote(None);
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(credit.deadline().unwrap() > Instant::now());
            credit.wrote(Some(PER_SEC));
        }

        tokio::time::advance(Duration::from_secs(1000)).await;

        assert_eq!(credit.deadline(), None);
        credit.wrote(None);
        assert!(credit.deadline().unwrap() > Instant::now() + SEND_GRACE / 2);
    }
}
