//! The health of the hub's store.

use std::time::Duration;

use crate::{
    Hub,
    error::{HubError, Result, causes},
    lock::lock,
    ticks::Ticks,
};

/// The time for which a successful check is valid. Anyone may request `/health` without a token; otherwise
/// each request would begin a write transaction.
const VALID_FOR: Duration = Duration::from_secs(1);
/// The interval of the hub's own check: problems are reported within 5 s.
const CHECK_EVERY: Duration = Duration::from_secs(2);

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
        let checked_at = *lock(&self.inner.storage.checked_at);
        if checked_at.is_some_and(|at| uptime.saturating_sub(at) < VALID_FOR) {
            return Ok(());
        }
        self.check_store_now().await
    }

    async fn check_store_now(&self) -> Result<()> {
        let uptime = self.inner.clock.uptime();
        let checked = self.inner.store.check().await.map_err(HubError::from);
        *lock(&self.inner.storage.checked_at) = checked.is_ok().then_some(uptime);
        let problem = checked.as_ref().err().map(problem);
        self.inner.storage.report_problem(|problems| &mut problems.store, problem, None);
        checked
    }

    /// The background task that checks the store: it writes nothing, and looks up three files.
    pub(crate) async fn watch_store(self) {
        let mut ticks = Ticks::new(CHECK_EVERY, self.stopping());
        while ticks.next().await {
            // A failure is reported by the check.
            let _ = self.stopping().run_until_cancelled(self.check_store_now()).await;
            if self.inner.store.take_unverified() {
                tracing::warn!("another program wrote into the database file: it is verified");
                self.inner.tasks.spawn(self.clone().verify_now());
            }
        }
    }

    async fn verify_now(self) {
        self.stopping().run_until_cancelled(self.verify_database(true)).await;
    }
}

/// The problem in one sentence without a path: anyone may read it.
pub(crate) fn problem(error: &HubError) -> String {
    match causes(error).last() {
        Some(cause) => format!("The store fails: {cause}."),
        None => format!("The store fails: {}", error.detail()),
    }
}
