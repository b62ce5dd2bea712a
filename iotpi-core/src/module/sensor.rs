//! A module that measures periodically.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    device::{DeviceError, Sensor},
    model::{
        manifest::{Manifest, Measure},
        reading::{Quantity, Reading, Sample},
    },
    module::{Module, ModuleError},
    time::{Clock, SystemClock},
    uplink::Uplink,
};

/// Reads a [`Sensor`] periodically and records its samples. A failed read is recorded with its reason.
#[derive(Debug)]
pub struct SensorModule<S> {
    sensor: S,
    every: Duration,
    description: Option<String>,
    clock: Arc<dyn Clock>,
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

    async fn measure(&mut self) -> (Vec<Sample>, Option<DeviceError>) {
        match self.sensor.read().await {
            Ok(samples) => (samples, None),
            Err(error) => {
                let gaps = self.sensor.quantities().into_iter().map(|q| Sample::no_data(q, &error)).collect();
                (gaps, Some(error))
            }
        }
    }

    fn stamped(&self, samples: Vec<Sample>, up: &Arc<dyn Uplink>) -> Vec<Reading> {
        let now = self.clock.now();
        samples.into_iter().map(|sample| Reading::new(up.module_id().clone(), sample, now)).collect()
    }
}

#[async_trait]
impl<S: Sensor> Module for SensorModule<S> {
    fn manifest(&self) -> Manifest {
        let measures = self.sensor.quantities().iter().map(|q| Measure::new(q, Some(self.every))).collect();
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
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = rhythm.tick() => {}
            }
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

/// A sensor defined by a function that measures one quantity; see [`measure`].
pub struct Measuring<F> {
    quantity: Quantity,
    function: F,
}

impl<F> std::fmt::Debug for Measuring<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Measuring").field("quantity", &self.quantity).finish_non_exhaustive()
    }
}

/// Creates a [`Sensor`] from an async function that returns one value in the quantity's canonical unit.
pub fn measure<F, R>(quantity: Quantity, function: F) -> Measuring<F>
where
    F: FnMut() -> R + Send,
    R: Future<Output = Result<f64, DeviceError>> + Send,
{
    Measuring { quantity, function }
}

#[async_trait]
impl<F, R> Sensor for Measuring<F>
where
    F: FnMut() -> R + Send,
    R: Future<Output = Result<f64, DeviceError>> + Send,
{
    fn quantities(&self) -> Vec<Quantity> {
        vec![self.quantity.clone()]
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let value = (self.function)().await?;
        Ok(vec![Sample::new(self.quantity.clone(), value)])
    }
}
