//! Recording readings: units, all or nothing, events.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use iotpi_core::{
    Outcome, Quantity, Reading, SensorType, Timestamp, Unit,
    model::{
        event::Event,
        reading::{MAX_AGE_SECS, MAX_REASON_LEN, MAX_SEQ, NewReading, Stored, TimeSource},
    },
};

use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    lock::lock,
    ops::implied_units,
    store::{Now, Recorded, SeriesKey, StoreError},
};

/// The `Retry-After` while the clock is not set: NTP takes seconds once there is a network.
const CLOCK_WAIT: Duration = Duration::from_secs(10);
/// The `Retry-After` when another request began a series at the same time.
const UNIT_WAIT: Duration = Duration::from_secs(1);
/// The maximum time by which a reading may be ahead of the hub's clock.
pub(crate) const MAX_CLOCK_AHEAD: Duration = Duration::from_secs(300);
/// The maximum number of readings in one request.
pub(crate) const MAX_READINGS: usize = 1000;

/// Delivered readings, and how their pointers are formed.
pub(crate) struct Delivery {
    pub(crate) readings: Vec<NewReading>,
    /// Whether they were delivered as an array: then the pointer includes the index.
    pub(crate) many: bool,
}

impl Delivery {
    fn pointer(&self, index: usize, field: &str) -> String {
        if self.many { format!("/{index}/{field}") } else { format!("/{field}") }
    }
}

impl Hub {
    /// Records readings, all or none; they are on disk when this returns. `kind` is the type of readings
    /// without one.
    ///
    /// # Errors
    /// `InvalidArgument`, `PermissionDenied`, `Unprocessable` (a unit that does not fit, a number that cannot
    /// be converted), `TooLarge` (more than 1,000), `RateLimited` (a quota of the module or the
    /// caller is exhausted, or there are too many series or modules), `StorageFull`, the store's.
    ///
    /// # Cancel safety
    /// Recorded completely or not at all; the events of recorded readings may be lost.
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
        let count = delivery.readings.len();
        if count > MAX_READINGS {
            return Err(HubError::too_large(format!(
                "{count} readings in one request; {MAX_READINGS} may be"
            )));
        }
        for (index, reading) in delivery.readings.iter().enumerate() {
            caller
                .may_deliver_as(&reading.module_id)
                .map_err(|error| error.at(delivery.pointer(index, "module_id")))?;
        }
        let modules = || delivery.readings.iter().map(|reading| &reading.module_id);
        self.check_new_modules(caller, modules())?;
        self.check_delivery_rate(caller, modules())?;
        self.check_space()?;
        self.detect_clock_step();
        // The arrival time is stored to the millisecond, and published as it is stored.
        let mut now = self.now();
        now.wall = Timestamp::from_micros(now.wall.as_micros() - now.wall.as_micros().rem_euclid(1000));
        let (readings, recorded) = self.record_in_their_units(caller, &delivery, kind, now).await?;
        let repeated = recorded.repeated.len() as u64;
        let stored = count as u64 - repeated;
        self.inner.metrics.readings.inc_by(stored);
        self.inner.metrics.readings_repeated.inc_by(repeated);

        self.log_clocks_ahead(&readings);

        let modules: BTreeSet<_> = readings.iter().map(|r| &r.module_id).collect();
        let mut changed = false;
        for id in &modules {
            changed |= self.inner.presence.touch(id, now);
        }
        if changed || !recorded.new_modules.is_empty() {
            self.inner.module_changed.notify_one();
        }
        // Events for repeated readings were published when they first arrived.
        let mut repeated_at = recorded.repeated.into_iter().peekable();
        for (index, mut reading) in readings.into_iter().enumerate() {
            if repeated_at.next_if_eq(&index).is_none() {
                reading.number = None;
                self.events().publish(Event::Reading { reading });
            }
        }
        Ok(Stored::new(stored, repeated))
    }

    async fn record_in_their_units(
        &self,
        caller: &Caller,
        delivery: &Delivery,
        kind: Option<&SensorType>,
        now: Now,
    ) -> Result<(Vec<Reading>, Recorded)> {
        let mut units = self.units_of(delivery, kind).await?;
        let readings = self.in_their_units(delivery, kind, now, &mut units)?;
        self.check_series(&readings)?;
        match self.inner.store.record(readings.clone(), self.max_series_for(caller), now).await {
            Ok(recorded) => Ok((readings, recorded)),
            // Another request created the series in the meantime. The next attempt will find its unit.
            Err(StoreError::OtherUnit { index, unit }) if is_custom(&readings[index]) => {
                Err(HubError::unavailable(format!(
                    "At the same time another request began one of these series in {unit}. Nothing was stored. Try again."
                ))
                .retry_after(UNIT_WAIT))
            }
            // The unit of a known quantity is fixed, so another attempt would be refused, too.
            Err(StoreError::OtherUnit { index, unit }) => {
                Err(HubError::unprocessable(format!("the unit of this series is {unit}"))
                    .at(delivery.pointer(index, "unit")))
            }
            Err(error) => {
                self.note_storage_full(&error);
                Err(error.into())
            }
        }
    }

    /// The units of the custom series that the delivery names and the store has.
    async fn units_of(
        &self,
        delivery: &Delivery,
        kind: Option<&SensorType>,
    ) -> Result<HashMap<SeriesKey, Unit>> {
        let key = |new: &NewReading| {
            let sensor = new.kind.as_ref().or(kind).filter(|sensor| Quantity::named(sensor).is_none())?;
            Some(SeriesKey {
                module_id: new.module_id.clone(),
                sensor: sensor.clone(),
                channel: new.channel.clone(),
            })
        };
        let keys: BTreeSet<_> = delivery.readings.iter().filter_map(key).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let keys = Vec::from_iter(keys);
        let units = self.inner.store.units(&keys).await?;
        Ok(keys.into_iter().zip(units).filter_map(|(key, unit)| Some((key, unit?))).collect())
    }

    /// The readings in the units of their series; adds the units of series that begin with this delivery.
    fn in_their_units(
        &self,
        delivery: &Delivery,
        kind: Option<&SensorType>,
        now: Now,
        units: &mut HashMap<SeriesKey, Unit>,
    ) -> Result<Vec<Reading>> {
        let clock_is_set = self.inner.clock.is_set();
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
                check_number(new, &at)?;
                if new.timestamp.is_none() && !self.inner.clock.is_possible() {
                    return Err(HubError::unavailable(
                        "the hub's clock is not set: it cannot say when this was",
                    )
                    .at(at("timestamp"))
                    .retry_after(CLOCK_WAIT));
                }
                let quantity =
                    implied_units::quantity(new, sensor, units).map_err(|error| error.at(at("unit")))?;
                implied_units::check_implied_unit(new, &quantity).map_err(|error| error.at(at("unit")))?;
                let kept = quantity.unit();
                let mut reading = new.clone().received(quantity, now.wall).map_err(|error| {
                    let choices = kept.alternatives().into_iter().map(str::to_owned).collect();
                    let field = if new.unit == Some(Unit::BOOLEAN) { "value" } else { "unit" };
                    HubError::unprocessable(error.to_string()).at(at(field)).with_choices(choices)
                })?;
                if clock_is_set {
                    put_at_arrival_if_ahead(&mut reading, now.wall);
                }
                if new.value.is_some() && matches!(reading.outcome, Outcome::NoData(_)) {
                    return Err(
                        HubError::unprocessable("the value is too large to be converted").at(at("value"))
                    );
                }
                Ok(reading)
            })
            .collect()
    }

    /// Counts readings ahead of the clock, and logs the first one of each module.
    fn log_clocks_ahead(&self, readings: &[Reading]) {
        let put_at_arrival = |reading: &&Reading| {
            reading.time_source == TimeSource::Arrival && reading.received_at == Some(reading.taken_at)
        };
        for reading in readings.iter().filter(put_at_arrival) {
            self.inner.metrics.readings_ahead.inc();
            let mut logged = lock(&self.inner.clocks_ahead);
            if !logged.contains(&reading.module_id) && (logged.len() as u64) < self.config().limits.modules {
                tracing::warn!(
                    module = %reading.module_id,
                    "its clock is more than 5 minutes ahead of the hub's: its readings are stored with the time of their arrival"
                );
                logged.insert(reading.module_id.clone());
            }
        }
    }
}

/// A reading of a clock that is ahead would hide later ones until its time has come, so it gets its arrival
/// time.
fn put_at_arrival_if_ahead(reading: &mut Reading, arrived_at: Timestamp) {
    if reading.taken_at > arrived_at.plus(MAX_CLOCK_AHEAD) {
        reading.taken_at = arrived_at;
        reading.time_source = TimeSource::Arrival;
    }
}

/// Checks that a number is complete or absent, and that there is one time at most.
fn check_number(new: &NewReading, at: &impl Fn(&str) -> String) -> Result<()> {
    let invalid = |detail: &str, field: &str| Err(HubError::invalid_argument(detail).at(at(field)));
    let outside = |number: Option<u64>| number.is_some_and(|number| !(1..=MAX_SEQ).contains(&number));
    match (new.epoch, new.seq) {
        (Some(_), None) => return invalid("`epoch` goes with a `seq`", "seq"),
        (None, Some(_)) => return invalid("`seq` goes with an `epoch`", "epoch"),
        (epoch, _) if outside(epoch) => return invalid("an epoch is 1 to 2^53 - 1", "epoch"),
        (_, seq) if outside(seq) => return invalid("a seq is 1 to 2^53 - 1", "seq"),
        _ => {}
    }
    match new.age {
        Some(_) if new.timestamp.is_some() => invalid("`age` stands in place of `timestamp`", "age"),
        Some(age) if !(0.0..=MAX_AGE_SECS).contains(&age) => {
            Err(HubError::unprocessable("an age is 0 to 31,622,400 seconds").at(at("age")))
        }
        _ => Ok(()),
    }
}

fn is_custom(reading: &Reading) -> bool {
    matches!(reading.quantity, Quantity::Custom { .. })
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
