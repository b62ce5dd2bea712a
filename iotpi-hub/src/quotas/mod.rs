//! Limits of one module and of one caller, so that no credential uses up what others need.
//!
//! Kept in memory: a restart resets the rates, and reads the series from the store.

mod rate_limit;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Mutex,
    time::Duration,
};

use iotpi_core::{ModuleId, Reading, SensorType};
use serde::Serialize;
use utoipa::ToSchema;

use self::rate_limit::RateLimit;
use crate::{
    Hub,
    auth::Caller,
    config::Limits,
    error::{HubError, Result},
    lock::lock,
    metrics::Refused,
    store::SeriesKey,
};

/// Registrations of one module a minute.
const REGISTRATIONS_PER_MINUTE: u64 = 60;
/// The maximum number of new modules that are remembered, plus up to 1,000 of one request.
const MAX_ARRIVING: usize = 4096;
/// One place in this many is reserved for modules with their own token.
const RESERVED: u64 = 4;

/// The quotas of all modules and callers.
#[derive(Debug)]
pub(crate) struct Quotas {
    readings: RateLimit<ModuleId>,
    registrations: RateLimit<ModuleId>,
    /// Keyed by the name of the caller.
    new_modules: RateLimit<String>,
    /// Modules that were counted as new and may not be known yet, so that parallel requests count once.
    arriving: Mutex<HashSet<ModuleId>>,
    /// The types of each module's series, including those being created.
    series: Mutex<HashMap<ModuleId, BTreeSet<SensorType>>>,
    max_series: u64,
}

/// The usage of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Quota {
    /// The amount used.
    pub used: u64,
    /// The maximum.
    pub limit: u64,
}

/// The usage of a module's quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModuleUsage {
    /// Series.
    pub series: Quota,
    /// Bytes of the manifest as JSON.
    pub manifest_bytes: Quota,
    /// Bytes of the state as JSON.
    pub state_bytes: Quota,
    /// Readings of the last minute, of the maximum burst.
    pub readings_per_minute: Quota,
}

impl Quotas {
    pub(crate) fn new(limits: &Limits, series: Vec<SeriesKey>) -> Self {
        let mut known: HashMap<ModuleId, BTreeSet<SensorType>> = HashMap::new();
        for key in series {
            known.entry(key.module_id).or_default().insert(key.sensor);
        }
        Self {
            readings: RateLimit::new(limits.readings_per_minute),
            registrations: RateLimit::new(REGISTRATIONS_PER_MINUTE),
            new_modules: RateLimit::new(limits.new_modules_per_minute),
            arriving: Mutex::default(),
            series: Mutex::new(known),
            max_series: limits.series_per_module,
        }
    }

    /// Counts the series of readings that are about to be recorded.
    ///
    /// # Errors
    /// `RateLimited` if a module would exceed its quota. Nothing is counted then.
    fn begin_series(&self, readings: &[Reading]) -> Result<()> {
        let mut all = lock(&self.series);
        let mut begun: BTreeMap<&ModuleId, BTreeSet<SensorType>> = BTreeMap::new();
        for reading in readings {
            let (module, kind) = (&reading.module_id, reading.quantity.name());
            if all.get(module).is_some_and(|known| known.contains(&kind)) {
                continue;
            }
            begun.entry(module).or_default().insert(kind);
        }
        for (module, kinds) in &begun {
            let known = all.get(*module).map_or(0, BTreeSet::len);
            if (known + kinds.len()) as u64 > self.max_series {
                return Err(HubError::rate_limited(format!(
                    "Module `{module}` has {known} series; one module may have {} (`limits.series_per_module`). Nothing was \
                     stored.",
                    self.max_series
                )));
            }
        }
        for (module, kinds) in begun {
            all.entry(module.clone()).or_default().extend(kinds);
        }
        Ok(())
    }

    fn series(&self, module: &ModuleId) -> u64 {
        lock(&self.series).get(module).map_or(0, |kinds| kinds.len() as u64)
    }

    /// The number of series that match.
    pub(crate) fn count_series(&self, matches: impl Fn(&ModuleId, &SensorType) -> bool) -> usize {
        let all = lock(&self.series);
        all.iter().map(|(module, kinds)| kinds.iter().filter(|kind| matches(module, kind)).count()).sum()
    }

    /// Removes a module.
    pub(crate) fn forget(&self, module: &ModuleId) {
        lock(&self.series).remove(module);
        lock(&self.arriving).remove(module);
        self.readings.forget(module);
        self.registrations.forget(module);
    }
}

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
            self.count_new_modules(caller, new)
        } else {
            Ok(())
        };
        self.counted(Refused::NewModules, result)
    }

    fn count_new_modules(&self, caller: &Caller, mut new: BTreeSet<&ModuleId>) -> Result<()> {
        let quotas = &self.inner.quotas;
        let mut arriving = lock(&quotas.arriving);
        new.retain(|id| !arriving.contains(*id));
        let count = new.len() as u64;
        if count == 0 {
            return Ok(());
        }
        // A name never begins with a space.
        let name = caller.identity().map_or(" anonymous", |who| who.name.as_str()).to_owned();
        let (now, limit) = (self.now().steady, self.config().limits.new_modules_per_minute);
        let missing = (quotas.new_modules.used(&name, now) + count).saturating_sub(limit);
        if missing > 0 {
            return Err(later(
                Duration::from_secs(1 + missing * 60 / limit),
                format!("One caller makes {limit} modules known a minute (`limits.new_modules_per_minute`)"),
            ));
        }
        let _ = quotas.new_modules.take(&name, count, now);
        if arriving.len() > MAX_ARRIVING {
            arriving.clear();
        }
        arriving.extend(new.into_iter().cloned());
        Ok(())
    }

    /// Checks that the modules may deliver these readings now. Other writes count as readings by their size.
    ///
    /// # Errors
    /// `RateLimited`.
    pub(crate) fn check_pace<'a>(
        &self,
        caller: &Caller,
        modules: impl IntoIterator<Item = &'a ModuleId>,
    ) -> Result<()> {
        if !is_bound(caller) {
            return Ok(());
        }
        let mut counts: BTreeMap<&ModuleId, u64> = BTreeMap::new();
        modules.into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
        let now = self.now().steady;
        let pace = &self.inner.quotas.readings;
        let result = pace.take_all(&counts, now).map_err(|(module, wait)| {
            later(
                wait,
                format!(
                    "Module `{module}` delivered more than {} readings a minute (`limits.readings_per_minute`). Nothing was \
                     stored",
                    self.config().limits.readings_per_minute
                ),
            )
        });
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
        let taken = self.inner.quotas.registrations.take(module, 1, self.now().steady);
        let result = taken.map_err(|wait| {
            later(wait, format!("Module `{module}` registered {REGISTRATIONS_PER_MINUTE} times in a minute"))
        });
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
        let record = record.ok_or_else(|| HubError::not_found(format!("There is no module `{id}`.")))?;
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
                self.inner.quotas.readings.used(id, self.now().steady),
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

pub(crate) fn json_bytes(value: &impl Serialize) -> u64 {
    serde_json::to_vec(value).map_or(u64::MAX, |json| json.len() as u64)
}

fn later(wait: Duration, what: String) -> HubError {
    HubError::rate_limited(format!("{what}. Try again after `Retry-After`.")).retry_after(wait)
}
