//! Detects live clients that no longer read.
//!
//! Only proof that the client reads counts: the answer to a ping of the hub, an acknowledged frame, or progress of a message in
//! flight. Other messages of a client prove nothing: it can send forever and read nothing.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Interval between pings of the hub.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(20);
/// With this many unanswered pings a client is disconnected, 40 to 60 s after it last read.
const MAX_UNANSWERED: u32 = 2;

#[derive(Debug)]
pub(super) struct Pings {
    ticks: Interval,
    unanswered: u32,
    /// Bytes that the client had accepted at the last tick.
    written: u64,
    /// Random, so that only a client that read the ping can answer it.
    payload: Bytes,
}

/// The action that is due at a tick.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping(Bytes),
    /// The client cannot be pinged within a message.
    Nothing,
    Close,
}

impl Pings {
    pub(super) fn new() -> Self {
        let mut ticks = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, unanswered: 0, written: 0, payload: random() }
    }

    /// Waits until something is due.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    /// What is due now, of a client whose line is `idle` and that has `taken` that many bytes in all.
    pub(super) fn due(&mut self, idle: bool, written: u64) -> Due {
        let progressed = !idle && written > self.written;
        self.written = written;
        if progressed {
            self.confirm_reading();
            return Due::Nothing;
        }
        if self.unanswered >= MAX_UNANSWERED {
            return Due::Close;
        }
        self.unanswered += 1;
        if idle { Due::Ping(self.payload.clone()) } else { Due::Nothing }
    }

    /// Whether a pong answers the last ping; if so, the client reads.
    pub(super) fn is_answered_by(&mut self, pong: &Bytes) -> bool {
        let answers = self.unanswered > 0 && *pong == self.payload;
        if answers {
            self.confirm_reading();
            self.payload = random();
        }
        answers
    }

    /// The client proved that it reads.
    pub(super) fn confirm_reading(&mut self) {
        self.unanswered = 0;
    }
}

/// Without randomness a client could only pretend to read, which costs no more memory.
fn random() -> Bytes {
    Bytes::copy_from_slice(&getrandom::u64().unwrap_or_default().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_answers_no_ping_is_closed_at_the_third() {
        let mut pings = Pings::new();

        let Due::Ping(first) = pings.due(true, 0) else { panic!("a ping") };
        assert!(!pings.is_answered_by(&Bytes::from_static(b"made up!")));
        assert_eq!(pings.due(true, 0), Due::Ping(first.clone()));
        assert_eq!(pings.due(true, 0), Due::Close);
        assert!(pings.is_answered_by(&first));
        assert!(!pings.is_answered_by(&first), "an answer counts once");
        let Due::Ping(second) = pings.due(true, 0) else { panic!("a ping") };
        assert_ne!(first, second);
    }

    #[tokio::test]
    async fn a_client_within_a_message_is_present_while_it_reads_on() {
        let mut pings = Pings::new();

        for written in 1..10 {
            assert_eq!(pings.due(false, written), Due::Nothing);
        }
        assert_eq!(
            [pings.due(false, 9), pings.due(false, 9), pings.due(false, 9)],
            [Due::Nothing, Due::Nothing, Due::Close]
        );
    }
}
