//! The time until which the effect of an action may last, which depends on its issuer and the hub.
//!
//! One rule covers both: the hub's answer says for how many seconds the issuer still counts as present, and
//! only answers extend the lease. An absent issuer adds no seconds, and an unreachable hub sends no answers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    model::{command::StatusReport, command_id::CommandId, id::ActionName},
    uplink::Uplink,
};

/// The pause before another attempt to reach the safe state.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The safety leases of a module: one for each action, of its last command.
#[derive(Debug, Default)]
pub(crate) struct SafetyLeases {
    held: BTreeMap<ActionName, ActiveLease>,
}

#[derive(Debug)]
struct ActiveLease {
    until: Arc<Mutex<Instant>>,
    _renewing: AbortOnDropHandle<()>,
}

impl ActiveLease {
    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SafetyLeases {
    /// Starts the lease of a command that just ran: its effect may last for `limit`, and longer if the hub
    /// extends it.
    pub(crate) fn hold(
        &mut self,
        up: &Arc<dyn Uplink>,
        action: ActionName,
        command: CommandId,
        limit: Duration,
    ) {
        let until = Arc::new(Mutex::new(Instant::now() + limit));
        let renewing = tokio::spawn(renew(Arc::clone(up), command, limit, Arc::clone(&until)));
        self.held.insert(action, ActiveLease { until, _renewing: AbortOnDropHandle::new(renewing) });
    }

    /// Ends all leases: the device is in its safe state.
    pub(crate) fn release(&mut self) {
        self.held.clear();
    }

    /// Schedules another attempt to reach the safe state.
    pub(crate) fn retry(&mut self) {
        for held in self.held.values() {
            *held.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + TRY_AGAIN;
        }
    }

    /// Whether a lease has expired.
    pub(crate) fn is_expired(&self) -> bool {
        self.first().is_some_and(|until| until <= Instant::now())
    }

    /// Returns when a lease has expired; never without a lease.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn expired(&self) {
        while let Some(until) = self.first() {
            if until <= Instant::now() {
                return;
            }
            // The lease may have been renewed meanwhile, so it is checked again.
            tokio::time::sleep_until(until).await;
        }
        std::future::pending().await
    }

    fn first(&self) -> Option<Instant> {
        self.held.values().map(ActiveLease::until).min()
    }
}

/// Asks three times within the limit, and more often towards its end, so that an issuer that appears late
/// still counts.
async fn renew(up: Arc<dyn Uplink>, command: CommandId, limit: Duration, until: Arc<Mutex<Instant>>) {
    let (seldom, often) = (limit / 3, limit / 20);
    loop {
        // The answer's seconds count from the question: the lease is shorter than the hub meant, never
        // longer.
        let asked_at = Instant::now();
        let question = StatusReport { watch: Some(command.clone()), ..StatusReport::default() };
        let alive = match tokio::time::timeout(seldom, up.report(question)).await {
            Ok(Ok(receipt)) => receipt.issuer_presence(),
            // An unreachable hub and a refusal have the same effect: the lease is not extended.
            Ok(Err(_)) | Err(_) => None,
        };
        let left = {
            let mut until = until.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(alive) = alive {
                *until = (*until).max(asked_at + alive.min(limit));
            }
            until.saturating_duration_since(Instant::now())
        };
        tokio::time::sleep((left / 2).clamp(often, seldom)).await;
    }
}
