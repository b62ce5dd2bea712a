//! The checks of the quotas of modules and callers.

use std::collections::BTreeSet;

use iotpi_core::{ModuleId, Reading};

use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    metrics::Refused,
    quotas::{ModuleUsage, Quota, json_bytes},
};

/// One place in this many is reserved for modules with their own token.
const RESERVED: u64 = 4;

impl Hub {
    /// Checks that there are places for new modules, and that this caller may create them now.
    ///
    /// # Errors
    /// `RateLimited`.
    pub(crate) fn check_new_modules<'a>(
        &self,
        caller: &Caller,
        modules: impl IntoIterator<Item = &'a ModuleId>,
    ) -> Result<()> {
        let new: BTreeSet<_> = modules.into_iter().filter(|id| !self.inner.presence.knows(id)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let count = new.len() as u64;
        let all = self.config().limits.modules;
        let limit = open_to(caller, all);
        let result = if self.inner.presence.count() + count > limit {
            let rest =
                if limit < all { ", and keeps the rest for modules with a token of their own" } else { "" };
            Err(HubError::rate_limited(format!(
                "The hub takes {limit} modules (`limits.modules`){rest}. Remove one that is no longer used."
            )))
        } else if is_bound(caller) {
            self.inner.quotas.take_new_modules(caller, new, self.now().steady)
        } else {
            Ok(())
        };
        self.counted(Refused::NewModules, result)
    }

    /// Checks that the modules may deliver these readings now. Other writes count as readings by their size.
    ///
    /// # Errors
    /// `RateLimited`.
    pub(crate) fn check_delivery_rate<'a>(
        &self,
        caller: &Caller,
        modules: impl IntoIterator<Item = &'a ModuleId>,
    ) -> Result<()> {
        if !is_bound(caller) {
            return Ok(());
        }
        let result = self.inner.quotas.take_readings(modules, self.now().steady);
        self.counted(Refused::Readings, result)
    }

    /// Checks that the series of the readings are within their modules' quotas.
    ///
    /// # Errors
    /// `RateLimited`.
    pub(crate) fn check_series(&self, readings: &[Reading]) -> Result<()> {
        self.counted(Refused::Series, self.inner.quotas.begin_series(readings))
    }

    /// The total number of series up to which this caller may create one.
    pub(crate) fn max_series_for(&self, caller: &Caller) -> u64 {
        open_to(caller, self.config().limits.series)
    }

    /// Checks that the module may register now.
    ///
    /// # Errors
    /// `RateLimited`.
    pub(crate) fn check_registration(&self, caller: &Caller, module: &ModuleId) -> Result<()> {
        if !is_bound(caller) {
            return Ok(());
        }
        let result = self.inner.quotas.take_registration(module, self.now().steady);
        self.counted(Refused::Registrations, result)
    }

    /// The usage of a module's quotas.
    ///
    /// # Errors
    /// `NotFound`, the store's.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn module_usage(&self, id: &ModuleId) -> Result<ModuleUsage> {
        let record = self.inner.store.module(id).await?;
        let record = record.ok_or_else(|| HubError::no_module(id))?;
        let limits = &self.config().limits;
        let quota = |used, limit| Quota { used, limit };
        Ok(ModuleUsage {
            series: quota(self.inner.quotas.series(id), limits.series_per_module),
            manifest_bytes: quota(record.manifest.as_ref().map_or(0, json_bytes), limits.manifest_bytes),
            state_bytes: quota(
                record.state.as_ref().map_or(0, |(state, _)| json_bytes(state)),
                limits.state_bytes,
            ),
            readings_per_minute: quota(
                self.inner.quotas.readings_used(id, self.now().steady),
                limits.readings_per_minute,
            ),
        })
    }

    fn counted<T>(&self, quota: Refused, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.inner.metrics.refused(quota);
        }
        result
    }
}

/// Whether the rates apply to a caller; they do not apply to admins.
fn is_bound(caller: &Caller) -> bool {
    caller.may_administer().is_err()
}

/// The part of a limit that is open to a caller: the rest is reserved for modules with their own token.
fn open_to(caller: &Caller, limit: u64) -> u64 {
    if is_bound(caller) && caller.module_id().is_none() { limit - limit / RESERVED } else { limit }
}
