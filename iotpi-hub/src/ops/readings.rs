//! Recording readings: units, all or nothing, and telling of it.

use std::collections::{BTreeSet, HashMap};

use iotpi_core::{Event, MAX_REASON_LEN, NewReading, Outcome, Quantity, Reading, SensorType, Stored, Unit};

use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    lock::lock,
    store::{Now, SeriesKey, StoreError},
};

/// The most readings in one request.
pub const MAX_READINGS: usize = 1000;

/// Readings as they came, and what the place of a bad one is called.
pub(crate) struct Delivery {
    pub(crate) readings: Vec<NewReading>,
    /// Whether they came as an array: then the pointer names the item.
    pub(crate) many: bool,
}

impl Delivery {
    fn pointer(&self, index: usize, field: &str) -> String {
        if self.many { format!("/{index}/{field}") } else { format!("/{field}") }
    }
}

impl Hub {
    /// Records readings, all or none; what it returns is on disk. `kind` is what those measure that do not say.
    ///
    /// # Errors
    /// `InvalidArgument`, `PermissionDenied`, `Unprocessable` (a unit that does not fit, a number that cannot be
    /// converted), `TooLarge` (more than [`MAX_READINGS`]), `RateLimited` (no room for another series), `StorageFull`, the
    /// store's.
    ///
    /// # Cancel safety
    /// Recorded wholly or not at all; the events of what was recorded may be lost.
    pub async fn record(
        &self,
        caller: &Caller,
        readings: Vec<NewReading>,
        kind: Option<&SensorType>,
    ) -> Result<Stored> {
        self.record_delivery(caller, Delivery { readings, many: true }, kind).await
    }

    pub(crate) async fn record_delivery(
        &self,
        caller: &Caller,
        delivery: Delivery,
        kind: Option<&SensorType>,
    ) -> Result<Stored> {
        let stored = delivery.readings.len() as u64;
        if delivery.readings.len() > MAX_READINGS {
            return Err(HubError::too_large(format!(
                "{stored} readings in one request; {MAX_READINGS} may be"
            )));
        }
        for (index, reading) in delivery.readings.iter().enumerate() {
            caller
                .may_deliver_as(&reading.module_id)
                .map_err(|error| error.at(delivery.pointer(index, "module_id")))?;
        }
        self.check_space()?;
        let now = self.now();
        let (readings, new_modules) = self.record_in_their_units(&delivery, kind, now).await?;
        self.remember_units(&readings);
        self.inner.metrics.readings.add(stored);

        let modules: BTreeSet<_> = readings.iter().map(|r| &r.module_id).collect();
        let mut told = false;
        for id in &modules {
            told |= self.inner.presence.heard(id, now);
        }
        if told || !new_modules.is_empty() {
            self.inner.module_bell.notify_one();
        }
        for reading in readings {
            self.events().publish(Event::Reading { reading });
        }
        Ok(Stored { stored, repeated: 0 })
    }

    /// Another hub on the same store, or a removal, may have changed a series' unit behind our back: the store says so,
    /// and the second try knows.
    async fn record_in_their_units(
        &self,
        delivery: &Delivery,
        kind: Option<&SensorType>,
        now: Now,
    ) -> Result<(Vec<Reading>, Vec<iotpi_core::ModuleId>)> {
        let mut tries = 0;
        loop {
            let readings = self.in_their_units(delivery, kind, now)?;
            match self.store().record(readings.clone(), self.config().limits.series, now).await {
                Ok(new_modules) => return Ok((readings, new_modules)),
                Err(StoreError::OtherUnit { .. }) if tries < 2 => {
                    tries += 1;
                    let units: HashMap<_, _> = self.store().series_units().await?.into_iter().collect();
                    *lock(&self.inner.units) = units;
                }
                Err(StoreError::OtherUnit { index, unit }) => {
                    return Err(HubError::unprocessable(format!("the series keeps {unit}"))
                        .at(delivery.pointer(index, "unit")));
                }
                Err(error) => {
                    self.no_room_for(&error);
                    return Err(error.into());
                }
            }
        }
    }

    fn in_their_units(
        &self,
        delivery: &Delivery,
        kind: Option<&SensorType>,
        now: Now,
    ) -> Result<Vec<Reading>> {
        let units = lock(&self.inner.units);
        // Units of series that begin with this delivery.
        let mut begun: HashMap<SeriesKey, Unit> = HashMap::new();
        delivery
            .readings
            .iter()
            .enumerate()
            .map(|(index, new)| {
                let at = |field: &str| delivery.pointer(index, field);
                let sensor = sensor_type(new, kind).map_err(|error| error.at(at("type")))?;
                if new.reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON_LEN) {
                    return Err(
                        HubError::invalid_argument("a reason has up to 200 characters").at(at("reason"))
                    );
                }
                let quantity = match Quantity::named(&sensor) {
                    Some(named) => named,
                    None => {
                        let key = SeriesKey { module_id: new.module_id.clone(), sensor };
                        let kept = units.get(&key).or_else(|| begun.get(&key)).or(new.unit.as_ref());
                        let unit = kept.cloned().ok_or_else(|| {
                            HubError::unprocessable(format!(
                                "the first `{}` of module `{}` has to say its unit",
                                key.sensor, key.module_id
                            ))
                            .at(at("unit"))
                        })?;
                        begun.insert(key.clone(), unit.clone());
                        Quantity::Custom { name: key.sensor, unit }
                    }
                };
                let alternatives = quantity.unit();
                let reading = new.clone().received(quantity, now.wall).map_err(|error| {
                    let choices = alternatives.alternatives().into_iter().map(str::to_owned).collect();
                    HubError::unprocessable(error.to_string()).at(at("unit")).with_choices(choices)
                })?;
                if new.value.is_some() && matches!(reading.outcome, Outcome::NoData(_)) {
                    return Err(
                        HubError::unprocessable("the value is too large to be converted").at(at("value"))
                    );
                }
                Ok(reading)
            })
            .collect()
    }

    fn remember_units(&self, readings: &[Reading]) {
        let mut units = lock(&self.inner.units);
        for reading in readings {
            if let Quantity::Custom { name, unit } = &reading.quantity {
                let key = SeriesKey { module_id: reading.module_id.clone(), sensor: name.clone() };
                units.entry(key).or_insert_with(|| unit.clone());
            }
        }
    }
}

fn sensor_type(new: &NewReading, kind: Option<&SensorType>) -> Result<SensorType> {
    match (&new.kind, kind) {
        (Some(said), Some(path)) if said != path => {
            Err(HubError::invalid_argument(format!("`{said}` was sent to the path of `{path}`")))
        }
        (Some(kind), _) => Ok(kind.clone()),
        (None, Some(path)) => Ok(path.clone()),
        (None, None) => {
            Err(HubError::invalid_argument("`type` is missing: here every reading says what it measures"))
        }
    }
}
