//! The health of the hub's store.

use std::{sync::Mutex, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Hub,
    error::{HubError, Result},
    lock::lock,
};

/// The time for which a successful check is valid. Anyone may request `/health` without a token; otherwise
/// each request would begin a write transaction.
const VALID_FOR: Duration = Duration::from_secs(1);
/// The interval of the hub's own check: problems are reported within 5 s.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// The uptime at the last successful check.
#[derive(Debug, Default)]
pub(crate) struct StoreCheck(Mutex<Option<Duration>>);

impl Hub {
    /// Checks that the store works, unless a check of the last second succeeded. A failure is not cached.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn check_store(&self) -> Result<()> {
        let uptime = self.inner.clock.uptime();
        let checked_at = *lock(&self.inner.store_check.0);
        if checked_at.is_some_and(|at| uptime.saturating_sub(at) < VALID_FOR) {
            return Ok(());
        }
        self.check_store_now().await
    }

    async fn check_store_now(&self) -> Result<()> {
        let uptime = self.inner.clock.uptime();
        let checked = self.inner.store.check().await.map_err(HubError::from);
        *lock(&self.inner.store_check.0) = checked.is_ok().then_some(uptime);
        let problem = checked.as_ref().err().map(problem);
        if self.inner.storage.tell(|problems| &mut problems.store, problem.clone())
            && let Some(problem) = problem
        {
            tracing::error!("{problem}");
        }
        checked
    }

    /// The background task that checks the store: it writes nothing, and looks up three files.
    pub(crate) async fn watch_store(self) {
        let mut due = interval(CHECK_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                _ = due.tick() => {}
            }
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                // Reported already.
                _ = self.check_store_now() => {}
            }
            if self.inner.store.take_unverified() {
                tracing::warn!("another program wrote into the database file: it is verified");
                self.inner.tasks.spawn(self.clone().verify_now());
            }
        }
    }

    async fn verify_now(self) {
        tokio::select! {
            () = self.inner.stop.cancelled() => {}
            () = self.verify_database(true) => {}
        }
    }
}

/// The problem in one sentence without a path: anyone may read it.
pub(crate) fn problem(error: &HubError) -> String {
    let cause = std::iter::successors(std::error::Error::source(error), |cause| cause.source()).last();
    match cause {
        Some(cause) => format!("The store fails: {cause}."),
        None => format!("The store fails: {}", error.detail()),
    }
}
