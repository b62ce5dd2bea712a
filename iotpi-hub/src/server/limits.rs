//! What a connection is doing, and when it has taken too long over it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{admission::SendCredit, lock::lock};

/// A busy connection is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a connection is doing, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Reading a request's head; a new connection owes one.
    Head,
    /// Answering, or sending the answer's body.
    Busy,
    /// Between two requests.
    Idle,
}

#[derive(Debug)]
pub(super) struct Activity {
    phase: Mutex<(Phase, Instant)>,
    /// How long the other side may still take nothing of what is sent to it.
    sending: Mutex<SendCredit>,
    /// The present request ends when its client closes or half-closes: see [`is_long`](super::is_long).
    pub(super) is_long: AtomicBool,
    /// The client closed the connection, so answers cannot be sent. Requests it had sent before are still carried out.
    pub(super) is_unheard: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            phase: Mutex::new((Phase::Head, Instant::now())),
            sending: Mutex::new(SendCredit::new()),
            is_long: AtomicBool::new(false),
            is_unheard: AtomicBool::new(false),
        }
    }

    pub(super) fn set(&self, phase: Phase) {
        *lock(&self.phase) = (phase, Instant::now());
    }

    /// Bytes came in: if nothing was going on, a head has begun.
    pub(super) fn received(&self) {
        let mut now = lock(&self.phase);
        if now.0 == Phase::Idle {
            *now = (Phase::Head, Instant::now());
        }
    }

    /// The other side took that many bytes, or takes none now.
    pub(super) fn wrote(&self, bytes: Option<usize>) {
        lock(&self.sending).wrote(bytes);
    }

    /// Whether the other side takes an answer more slowly than it has to.
    pub(super) fn is_stalled(&self) -> bool {
        lock(&self.sending).deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// When to look at the connection again.
    pub(super) fn deadline(&self, head: Duration, idle: Duration) -> Instant {
        let (phase, since) = *lock(&self.phase);
        let next_look = match phase {
            Phase::Head => since + head,
            Phase::Idle => since + idle,
            Phase::Busy => Instant::now() + LOOK_EVERY,
        };
        lock(&self.sending).deadline().map_or(next_look, |deadline| deadline.min(next_look))
    }
}

/// Ends a request's busy time when its answer is sent or given up.
pub(super) struct Ended(pub(super) Arc<Activity>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.is_long.store(false, Relaxed);
        self.0.set(Phase::Idle);
    }
}
