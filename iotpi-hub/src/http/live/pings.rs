//! Whether a live client still takes what the hub sends.
//!
//! Only what proves that the client reads counts: the answer to a ping of the hub, an acknowledged picture, more bytes taken of
//! a message under way. What a client sends of itself proves nothing: one can send for ever and read nothing.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// How often the hub pings.
pub(super) const PING_EVERY: Duration = Duration::from_secs(20);
/// With so many unanswered pings the client is gone, 40 to 60 s after it last read.
const MAX_UNANSWERED: u32 = 2;

#[derive(Debug)]
pub(super) struct Pings {
    ticks: Interval,
    unanswered: u32,
    /// What the client had taken at the last tick.
    taken: u64,
    /// Drawn at random, so that only one who read the ping can answer it.
    payload: Bytes,
}

/// What is due at a tick.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping(Bytes),
    /// The client cannot be pinged amid a message.
    Nothing,
    Close,
}

impl Pings {
    pub(super) fn new() -> Self {
        let mut ticks = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, unanswered: 0, taken: 0, payload: random() }
    }

    /// Waits until something is due.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    /// What is due now, of a client whose line is `idle` and that has `taken` that many bytes in all.
    pub(super) fn due(&mut self, idle: bool, taken: u64) -> Due {
        let took_more = !idle && taken > self.taken;
        self.taken = taken;
        if took_more {
            self.reads();
            return Due::Nothing;
        }
        if self.unanswered >= MAX_UNANSWERED {
            return Due::Close;
        }
        self.unanswered += 1;
        if idle { Due::Ping(self.payload.clone()) } else { Due::Nothing }
    }

    /// Takes a pong, and says whether it answers a ping.
    pub(super) fn is_answered_by(&mut self, pong: &Bytes) -> bool {
        let answers = self.unanswered > 0 && *pong == self.payload;
        if answers {
            self.reads();
            self.payload = random();
        }
        answers
    }

    /// The client has shown that it reads.
    pub(super) fn reads(&mut self) {
        self.unanswered = 0;
    }
}

/// Without randomness a client could pretend to read, and still costs no more memory.
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
    async fn a_client_amid_a_message_is_there_as_long_as_it_takes_more() {
        let mut pings = Pings::new();

        for taken in 1..10 {
            assert_eq!(pings.due(false, taken), Due::Nothing);
        }
        assert_eq!(
            [pings.due(false, 9), pings.due(false, 9), pings.due(false, 9)],
            [Due::Nothing, Due::Nothing, Due::Close]
        );
    }
}
