//! What one module, and one caller, may use up, so that no credential takes what others need.
//!
//! Kept in memory: a restart forgets the paces, and reads the series from the store.

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
    store::SeriesKey,
};

/// Manifests one module may register a minute.
const REGISTRATIONS_PER_MINUTE: u64 = 60;
/// New modules that are remembered, and up to 1,000 more of one request.
const MAX_ARRIVING: usize = 4096;
/// One place in so many is kept for modules with a token of their own.
const RESERVED: u64 = 4;

/// The quotas of all modules and callers.
#[derive(Debug)]
pub(crate) struct Quotas {
    readings: RateLimit<ModuleId>,
    registrations: RateLimit<ModuleId>,
    /// By the name of the caller.
    new_modules: RateLimit<String>,
    /// Modules that were counted as new and may not be known yet, so that requests in parallel count once.
    arriving: Mutex<HashSet<ModuleId>>,
    /// The types of each module's series, with those that are being begun.
    series: Mutex<HashMap<ModuleId, BTreeSet<SensorType>>>,
    max_series: u64,
}

/// How much of a quota is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Quota {
    /// Used so far.
    pub used: u64,
    /// The most that may be used.
    pub limit: u64,
}

/// What a module uses of what one module may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModuleUsage {
    /// Series.
    pub series: Quota,
    /// Bytes of its manifest, as JSON.
    pub manifest_bytes: Quota,
    /// Bytes of its state, as JSON.
    pub state_bytes: Quota,
    /// Readings of the last minute, of those it may deliver at once.
    pub readings_per_minute: Quota,
}

impl Quotas {
    pub(crate) fn new<'a>(limits: &Limits, series: impl IntoIterator<Item = &'a SeriesKey>) -> Self {
        let mut known: HashMap<ModuleId, BTreeSet<SensorType>> = HashMap::new();
        for key in series {
            known.entry(key.module_id.clone()).or_default().insert(key.sensor.clone());
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

    /// Notes the series of readings that are about to be recorded.
    ///
    /// # Errors
    /// `RateLimited` when a module would have more than it may. Nothing is noted then.
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

    /// The module was removed.
    pub(crate) fn forget(&self, module: &ModuleId) {
        lock(&self.series).remove(module);
        lock(&self.arriving).remove(module);
        self.readings.forget(module);
        self.registrations.forget(module);
    }
}

/// Which quota refused a request: a label of the metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    Readings,
    Series,
    NewModules,
    Registrations,
}

impl Refused {
    pub(crate) const ALL: [Self; 4] = [Self::Readings, Self::Series, Self::NewModules, Self::Registrations];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Readings => "readings",
            Self::Series => "series",
            Self::NewModules => "new_modules",
            Self::Registrations => "registrations",
        }
    }
}

impl Hub {
    /// There is room for modules that are not known yet, and this caller may make so many known now.
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

    /// The modules may deliver so many readings now. What else they have the store write counts as readings of its size.
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

    /// The readings' series are within what their modules may have.
    ///
    /// # Errors
    /// `RateLimited`.
    pub(crate) fn check_series(&self, readings: &[Reading]) -> Result<()> {
        self.counted(Refused::Series, self.inner.quotas.begin_series(readings))
    }

    /// How many series there may be in all for this caller to begin one.
    pub(crate) fn max_series_for(&self, caller: &Caller) -> u64 {
        open_to(caller, self.config().limits.series)
    }

    /// The module may register now.
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

    /// What a module uses of its quotas.
    ///
    /// # Errors
    /// `NotFound`, the store's.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn module_usage(&self, id: &ModuleId) -> Result<ModuleUsage> {
        let record = self.store().module(id).await?;
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

/// Whether a caller has a pace: an admin has none.
fn is_bound(caller: &Caller) -> bool {
    caller.may_administer().is_err()
}

/// How much of a limit is open to a caller: a part is kept for modules that speak for themselves.
fn open_to(caller: &Caller, limit: u64) -> u64 {
    if is_bound(caller) && caller.module_id().is_none() { limit - limit / RESERVED } else { limit }
}

pub(crate) fn json_bytes(value: &impl Serialize) -> u64 {
    serde_json::to_vec(value).map_or(u64::MAX, |json| json.len() as u64)
}

fn later(wait: Duration, what: String) -> HubError {
    HubError::rate_limited(format!("{what}. Try again after `Retry-After`.")).retry_after(wait)
}
