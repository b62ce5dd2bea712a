//! Minimum rates of transfers: of request bodies that arrive, and of responses that clients read.

use std::time::Duration;

use tokio::time::Instant;

/// The minimum average rate of a request body or a response.
pub(crate) const MIN_BYTES_PER_SEC: u32 = 8 * 1024;
/// Time that a body may take beyond that, because packets are lost and sent again.
const BODY_GRACE: Duration = Duration::from_secs(5);
/// Time for which a client may read nothing of a response.
const SEND_GRACE: Duration = Duration::from_secs(20);
/// The same, once the authorization of what is being sent has ended.
const REVOKED_GRACE: Duration = Duration::from_secs(1);

/// The minimum rate of a request body.
#[derive(Debug)]
pub(crate) struct MinimumRate {
    started: Instant,
    bytes: u64,
}

impl MinimumRate {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), bytes: 0 }
    }

    /// Records bytes that arrived.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The time by which more bytes must arrive.
    pub(crate) fn deadline(&self) -> Instant {
        self.started + BODY_GRACE + time_for(self.bytes)
    }
}

/// Time for which the client of a connection may still read nothing. Reading adds to it, up to a maximum; time in which nothing
/// has to be sent is free.
#[derive(Debug)]
pub(crate) struct SendCredit {
    left: Duration,
    max: Duration,
    blocked_since: Option<Instant>,
}

impl SendCredit {
    pub(crate) fn new() -> Self {
        Self { left: SEND_GRACE, max: SEND_GRACE, blocked_since: None }
    }

    /// Records that the client accepted bytes, or accepts none at present.
    pub(crate) fn wrote(&mut self, bytes: Option<usize>) {
        match (bytes, self.blocked_since) {
            (None, None) => self.blocked_since = Some(Instant::now()),
            (None, Some(_)) => {}
            (Some(bytes), since) => {
                let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
                self.blocked_since = None;
                let earned = time_for(bytes as u64);
                self.left = (self.left.saturating_sub(waited) + earned).min(self.max);
            }
        }
    }

    /// Shortens the time, because the authorization of what is being sent has ended.
    pub(crate) fn revoke(&mut self) {
        self.max = REVOKED_GRACE;
        self.left = self.left.min(self.max);
        if let Some(since) = &mut self.blocked_since {
            *since = Instant::now();
        }
    }

    /// The time by which the client must read more; `None` while no bytes wait for it.
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
    async fn a_body_at_the_minimum_rate_may_take_as_long_as_it_needs() {
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
    async fn a_client_that_reads_a_little_now_and_then_runs_out_of_credit() {
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
    async fn a_client_at_the_minimum_rate_and_one_for_which_nothing_waits_are_never_too_slow() {
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
    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_has_a_moment_left_after_a_revocation() {
        let mut credit = SendCredit::new();
        credit.wrote(None);
        tokio::time::advance(Duration::from_secs(5)).await;

        credit.revoke();

        assert_eq!(credit.deadline(), Some(Instant::now() + REVOKED_GRACE));
        // Bytes that still fit into the socket buy no more time.
        credit.wrote(Some(1000 * PER_SEC));
        credit.wrote(None);
        assert_eq!(credit.deadline(), Some(Instant::now() + REVOKED_GRACE));
    }
}
