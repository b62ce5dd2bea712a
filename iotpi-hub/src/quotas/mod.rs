//! Limits of one module and of one caller, so that no credential uses up what others need.
//!
//! Kept in memory: a restart resets the rates, and reads the series from the store.

mod rate_limit;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Mutex,
    time::Duration,
};

use iotpi_core::{Channel, ModuleId, Reading, SensorType};
use serde::Serialize;
use utoipa::ToSchema;

use self::rate_limit::RateLimit;
use crate::{
    auth::Caller,
    config::Limits,
    error::{HubError, Result},
    lock::lock,
    store::{SeriesKey, Steady},
};

/// Registrations of one module a minute.
const REGISTRATIONS_PER_MINUTE: u64 = 60;
/// The maximum number of new modules that are remembered, plus up to 1,000 of one request.
const MAX_ARRIVING: usize = 4096;

/// The type and the channel of a series.
type SeriesName = (SensorType, Option<Channel>);

/// The quotas of all modules and callers.
#[derive(Debug)]
pub(crate) struct Quotas {
    readings: RateLimit<ModuleId>,
    registrations: RateLimit<ModuleId>,
    /// Keyed by the name of the caller.
    new_modules: RateLimit<String>,
    /// Modules that were counted as new and may not be known yet, so that parallel requests count once.
    arriving: Mutex<HashSet<ModuleId>>,
    /// The types and channels of each module's series, including those being created.
    series: Mutex<HashMap<ModuleId, BTreeSet<SeriesName>>>,
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
        let mut known: HashMap<ModuleId, BTreeSet<_>> = HashMap::new();
        for key in series {
            known.entry(key.module_id).or_default().insert((key.sensor, key.channel));
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
    pub(crate) fn begin_series(&self, readings: &[Reading]) -> Result<()> {
        let mut all = lock(&self.series);
        let mut begun: BTreeMap<&ModuleId, BTreeSet<_>> = BTreeMap::new();
        for reading in readings {
            let (module, series) = (&reading.module_id, (reading.quantity.name(), reading.channel.clone()));
            if all.get(module).is_some_and(|known| known.contains(&series)) {
                continue;
            }
            begun.entry(module).or_default().insert(series);
        }
        for (module, series) in &begun {
            let known = all.get(*module).map_or(0, BTreeSet::len);
            if (known + series.len()) as u64 > self.max_series {
                return Err(HubError::rate_limited(format!(
                    "Module `{module}` has {known} series; one module may have {} (`limits.series_per_module`). Nothing was \
                     stored.",
                    self.max_series
                )));
            }
        }
        for (module, series) in begun {
            all.entry(module.clone()).or_default().extend(series);
        }
        Ok(())
    }

    /// The number of series of a module.
    pub(crate) fn series(&self, module: &ModuleId) -> u64 {
        lock(&self.series).get(module).map_or(0, |series| series.len() as u64)
    }

    /// The number of series that match.
    pub(crate) fn count_series(&self, matches: impl Fn(&ModuleId, &SensorType) -> bool) -> usize {
        let all = lock(&self.series);
        let count = |(module, series): (&ModuleId, &BTreeSet<SeriesName>)| {
            series.iter().filter(|(kind, _)| matches(module, kind)).count()
        };
        all.iter().map(count).sum()
    }

    /// Counts new modules of a caller.
    ///
    /// # Errors
    /// `RateLimited`. Nothing is counted then.
    pub(crate) fn take_new_modules(
        &self,
        caller: &Caller,
        mut new: BTreeSet<&ModuleId>,
        now: Steady,
    ) -> Result<()> {
        let mut arriving = lock(&self.arriving);
        new.retain(|id| !arriving.contains(*id));
        let count = new.len() as u64;
        if count == 0 {
            return Ok(());
        }
        // A name never begins with a space.
        let name = caller.identity().map_or(" anonymous", |identity| identity.name.as_str()).to_owned();
        let limit = self.new_modules.per_minute;
        let missing = (self.new_modules.used(&name, now) + count).saturating_sub(limit);
        if missing > 0 {
            return Err(later(
                Duration::from_secs(1 + missing * 60 / limit),
                format!("One caller makes {limit} modules known a minute (`limits.new_modules_per_minute`)"),
            ));
        }
        let _ = self.new_modules.take(&name, count, now);
        if arriving.len() > MAX_ARRIVING {
            arriving.clear();
        }
        arriving.extend(new.into_iter().cloned());
        Ok(())
    }

    /// Counts readings by the modules that deliver them.
    ///
    /// # Errors
    /// `RateLimited`. Nothing is counted then.
    pub(crate) fn take_readings<'a>(
        &self,
        modules: impl IntoIterator<Item = &'a ModuleId>,
        now: Steady,
    ) -> Result<()> {
        let mut counts: BTreeMap<&ModuleId, u64> = BTreeMap::new();
        modules.into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
        self.readings.take_all(&counts, now).map_err(|(module, wait)| {
            let limit = self.readings.per_minute;
            later(
                wait,
                format!(
                    "Module `{module}` delivered more than {limit} readings a minute (`limits.readings_per_minute`). Nothing \
                     was stored"
                ),
            )
        })
    }

    /// The readings that a module delivered in the last minute.
    pub(crate) fn readings_used(&self, module: &ModuleId, now: Steady) -> u64 {
        self.readings.used(module, now)
    }

    /// Counts a registration.
    ///
    /// # Errors
    /// `RateLimited`.
    pub(crate) fn take_registration(&self, module: &ModuleId, now: Steady) -> Result<()> {
        self.registrations.take(module, 1, now).map_err(|wait| {
            later(wait, format!("Module `{module}` registered {REGISTRATIONS_PER_MINUTE} times in a minute"))
        })
    }

    /// Removes a module.
    pub(crate) fn forget(&self, module: &ModuleId) {
        lock(&self.series).remove(module);
        lock(&self.arriving).remove(module);
        self.readings.forget(module);
        self.registrations.forget(module);
    }
}

pub(crate) fn json_bytes(value: &impl Serialize) -> u64 {
    serde_json::to_vec(value).map_or(u64::MAX, |json| json.len() as u64)
}

fn later(wait: Duration, what: String) -> HubError {
    HubError::rate_limited(format!("{what}. Try again after `Retry-After`.")).retry_after(wait)
}
