//! What an action did may last only while its issuer and the hub are there: until when, as far as is known.
//!
//! One rule for both: the hub's answer says for how many seconds the issuer still counts as there, and only answers move
//! the end. An issuer that is gone gives no more seconds, a hub that is gone gives no more answers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    model::{
        command::{CommandId, StatusReport},
        id::ActionName,
    },
    uplink::Uplink,
};

/// When a device could not be made safe it is tried again after this time.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The safety leases a module holds: one for each action, of the command that did it last.
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
    /// The command was done just now: what it did may last for `limit`, and for as long as the hub gives more.
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

    /// The device is safe: nothing is left that could last too long.
    pub(crate) fn release(&mut self) {
        self.held.clear();
    }

    /// The device could not be made safe: a lease is over again soon.
    pub(crate) fn retry(&mut self) {
        for held in self.held.values() {
            *held.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + TRY_AGAIN;
        }
    }

    /// Whether one of them is over.
    pub(crate) fn is_expired(&self) -> bool {
        self.first().is_some_and(|until| until <= Instant::now())
    }

    /// Returns when one of them is over; never when there is none.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn expired(&self) {
        while let Some(until) = self.first() {
            if until <= Instant::now() {
                return;
            }
            // It may have been renewed meanwhile, so it is looked at again.
            tokio::time::sleep_until(until).await;
        }
        std::future::pending().await
    }

    fn first(&self) -> Option<Instant> {
        self.held.values().map(ActiveLease::until).min()
    }
}

/// Asks three times within the limit, and more often towards the end, so that whoever shows up late is still seen.
async fn renew(up: Arc<dyn Uplink>, command: CommandId, limit: Duration, until: Arc<Mutex<Instant>>) {
    let (seldom, often) = (limit / 3, limit / 20);
    loop {
        // The answer's seconds count from the question on: less is given than the hub meant, never more.
        let asked_at = Instant::now();
        let question = StatusReport { watch: Some(command.clone()), ..StatusReport::default() };
        let alive = match tokio::time::timeout(seldom, up.report(question)).await {
            Ok(Ok(receipt)) => receipt.alive_secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()),
            // Whether the hub is away or refuses: it gives no more.
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
