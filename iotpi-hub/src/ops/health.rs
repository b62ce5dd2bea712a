//! Whether the hub can store.

use std::{sync::Mutex, time::Duration};

use crate::{Hub, error::Result, lock::lock};

/// How long a check of the store that succeeded is valid. Anyone may request `/health` without a token; without this each
/// request would begin a transaction of the writer.
const VALID_FOR: Duration = Duration::from_secs(1);

/// The last check of the store that succeeded: the hub's uptime then.
#[derive(Debug, Default)]
pub(crate) struct StoreCheck(Mutex<Option<Duration>>);

impl Hub {
    /// Checks that the store can write, unless a check of the last second did. A failure is never remembered.
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
        let checked = self.store().check().await;
        *lock(&self.inner.store_check.0) = checked.is_ok().then_some(uptime);
        Ok(checked?)
    }
}
