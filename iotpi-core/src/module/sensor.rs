//! A module that measures periodically.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    device::{DeviceError, DeviceErrorKind, Sensor},
    model::{
        manifest::{Manifest, Measure},
        reading::{Outcome, Quantity, Reading, Sample, SeriesSpec},
    },
    module::{Module, ModuleError, report_on_change::ReportOnChange},
    time::{Clock, SystemClock},
    uplink::Uplink,
};

/// The time from one read to the next that a change may cause.
const MIN_CHANGE_INTERVAL: Duration = Duration::from_millis(100);

/// Reads a [`Sensor`] periodically and records its samples. A sensor that [reports
/// changes](Sensor::changed) is also read at each change, at most every 100 ms, so that a bouncing contact does
/// not fill the database; the periodic reads continue. A failed read is recorded with its reason, and so
/// is a quantity that the sensor did not return, or whose value is outside its [physical
/// range](crate::Quantity::physical_range): the other samples of the read are kept. A read that failed with a bus or checksum error is repeated
/// once at once.
///
/// ```
/// use std::time::Duration;
/// use iotpi_core::{Module, Quantity, SensorModule, measure};
///
/// let sensor = measure(Quantity::Temperature, async || Ok(21.5));
/// let module = SensorModule::new(sensor, Duration::from_secs(60)).described("Under the roof");
/// assert_eq!(module.manifest().measures[0].every_secs, Some(60.0));
/// ```
#[derive(Debug)]
pub struct SensorModule<S> {
    sensor: S,
    every: Duration,
    description: Option<String>,
    clock: Arc<dyn Clock>,
    changes: Option<ReportOnChange>,
}

impl<S: Sensor> SensorModule<S> {
    /// Reads `sensor` at the start and then every `every`, at least a millisecond.
    #[must_use]
    pub fn new(sensor: S, every: Duration) -> Self {
        Self {
            sensor,
            every: every.max(Duration::from_millis(1)),
            description: None,
            clock: SystemClock::shared(),
            changes: None,
        }
    }

    /// Sets the description in the manifest.
    #[must_use]
    pub fn described(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets the clock for the times of readings.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Records changes only, and a sample after the maximum interval, which the manifest then contains.
    #[must_use]
    pub fn reporting(mut self, changes: ReportOnChange) -> Self {
        self.changes = Some(changes);
        self
    }

    /// The longest time between two readings of a quantity.
    fn interval(&self, quantity: &Quantity) -> Duration {
        self.changes.as_ref().map_or(self.every, |changes| changes.interval(quantity, self.every))
    }

    /// The samples to record: all, or those that changed.
    fn without_unchanged(&mut self, samples: Vec<Sample>) -> Vec<Sample> {
        match &mut self.changes {
            Some(changes) => changes.filter(samples),
            None => samples,
        }
    }

    /// Measures once, and after a faulty transfer on the bus once more.
    async fn measure(&mut self) -> (Vec<Sample>, Option<DeviceError>) {
        let mut measured = self.sensor.read().await;
        if let Err(error) = &measured
            && matches!(error.kind(), DeviceErrorKind::Bus | DeviceErrorKind::Checksum)
        {
            tracing::debug!(%error, "reading again");
            measured = self.sensor.read().await;
        }
        match measured {
            Ok(samples) => (self.complete(samples), None),
            Err(error) => {
                let gaps = self.sensor.series().into_iter().map(|one| Sample::no_data(one, &error)).collect();
                (gaps, Some(error))
            }
        }
    }

    /// Adds a sample without data for each series that the sensor did not return. A quantity without a channel
    /// in the list may have samples on channels.
    fn complete(&self, samples: Vec<Sample>) -> Vec<Sample> {
        let mut samples: Vec<_> = samples.into_iter().map(without_impossible_value).collect();
        for series in self.sensor.series() {
            let is_of = |sample: &Sample| {
                sample.quantity == series.quantity
                    && (series.channel.is_none() || sample.channel == series.channel)
            };
            if !samples.iter().any(is_of) {
                samples.push(Sample::no_data(series, "the sensor returned no value"));
            }
        }
        samples
    }

    fn stamped(&self, samples: Vec<Sample>, up: &Arc<dyn Uplink>) -> Vec<Reading> {
        let now = self.clock.now();
        samples.into_iter().map(|sample| Reading::new(up.module_id().clone(), sample, now)).collect()
    }
}

/// Removes a value outside the quantity's physical range: the sensor or its wiring is faulty.
fn without_impossible_value(mut sample: Sample) -> Sample {
    if let Outcome::Value(value) = sample.outcome
        && !sample.quantity.physical_range().contains(&value)
    {
        sample.outcome = Outcome::no_data(format_args!("out of range: {value} {}", sample.quantity.unit()));
    }
    sample
}

/// Waits for a change of the sensor that may be read now.
async fn change(sensor: &mut impl Sensor, from: Instant) {
    tokio::time::sleep_until(from).await;
    sensor.changed().await;
}

#[async_trait]
impl<S: Sensor> Module for SensorModule<S> {
    fn manifest(&self) -> Manifest {
        let measure = |series: SeriesSpec| {
            let every = self.interval(&series.quantity);
            Measure::new(series, Some(every))
        };
        let measures = self.sensor.series().into_iter().map(measure).collect();
        Manifest { description: self.description.clone(), measures, ..Manifest::default() }
    }

    async fn run(
        mut self: Box<Self>,
        up: Arc<dyn Uplink>,
        stop: CancellationToken,
    ) -> Result<(), ModuleError> {
        let mut rhythm = tokio::time::interval_at(Instant::now(), self.every);
        // A read that took long is followed by the next regular one, not by a burst.
        rhythm.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut failing = false;
        let mut changes_from = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = rhythm.tick() => {}
                () = change(&mut self.sensor, changes_from) => {}
            }
            changes_from = Instant::now() + MIN_CHANGE_INTERVAL;
            let (samples, error) = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                measured = self.measure() => measured,
            };
            match (&error, failing) {
                (Some(error), false) => tracing::warn!(module = %up.module_id(), %error, "reading failed"),
                (None, true) => tracing::info!(module = %up.module_id(), "reading works again"),
                _ => {}
            }
            failing = error.is_some();
            let samples = self.without_unchanged(samples);
            if samples.is_empty() {
                continue;
            }
            let readings = self.stamped(samples, &up);
            if let Err(error) = up.record(readings).await {
                tracing::warn!(module = %up.module_id(), %error, "readings were refused");
            }
        }
    }

    async fn run_once(mut self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        let (samples, error) = self.measure().await;
        up.record(self.stamped(samples, &up)).await?;
        error.map_or(Ok(()), |error| Err(error.into()))
    }
}
