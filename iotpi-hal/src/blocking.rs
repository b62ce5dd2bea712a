//! Runs a blocking driver as an async [`Sensor`]: each measurement runs on tokio's pool of blocking threads.
//!
//! Deliberately absent: a thread per driver. A driver works for milliseconds every few seconds.

use iotpi_core::{
    DeviceError, DeviceErrorKind, Quantity, Sample, Sensor, async_trait, model::reading::SeriesSpec,
};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::drivers::BlockingSensor;

/// A blocking driver as a [`Sensor`].
///
/// At most one measurement runs at a time, even when a read is cancelled: the next read first waits for the
/// running measurement to end. A bus that hangs therefore blocks one thread, not one thread per read.
///
/// ```
/// use iotpi_core::Sensor;
/// use iotpi_hal::{blocking::Blocking, drivers::system::System};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let mut machine = Blocking::new(System::new());
/// for sample in machine.read().await? {
///     println!("{}: {:?}", sample.quantity.name(), sample.outcome);
/// }
/// # Ok::<(), iotpi_core::DeviceError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Blocking<D> {
    quantities: Vec<Quantity>,
    series: Vec<SeriesSpec>,
    driver: Place<D>,
}

#[derive(Debug)]
enum Place<D> {
    Here(D),
    Measuring(JoinHandle<D>),
    /// The driver panicked during a measurement.
    Lost,
}

impl<D: BlockingSensor> Blocking<D> {
    /// Wraps a blocking driver.
    pub fn new(driver: D) -> Self {
        Self { quantities: driver.quantities(), series: driver.series(), driver: Place::Here(driver) }
    }

    /// Takes the driver out of its slot. Waits for a cancelled measurement to end.
    async fn take(&mut self) -> Result<D, DeviceError> {
        let finished = match &mut self.driver {
            Place::Measuring(task) => Some(task.await),
            Place::Here(_) | Place::Lost => None,
        };
        match (finished, std::mem::replace(&mut self.driver, Place::Lost)) {
            (Some(Ok(driver)), _) | (None, Place::Here(driver)) => Ok(driver),
            _ => Err(DeviceError::new(DeviceErrorKind::Other, "the driver panicked: restart the module")),
        }
    }
}

#[async_trait]
impl<D: BlockingSensor> Sensor for Blocking<D> {
    fn quantities(&self) -> Vec<Quantity> {
        self.quantities.clone()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.series.clone()
    }

    /// Measures once on a blocking thread.
    ///
    /// # Errors
    /// The errors of the driver; [`DeviceErrorKind::Other`] when it panicked.
    ///
    /// # Cancel safety
    /// After a cancelled read the driver finishes its measurement. The next read waits for that and measures
    /// again.
    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let mut driver = self.take().await?;
        let (answer, answered) = oneshot::channel();
        self.driver = Place::Measuring(tokio::task::spawn_blocking(move || {
            // The receiver is gone when the read was cancelled.
            let _ = answer.send(driver.sense());
            driver
        }));
        let samples = match answered.await {
            Ok(samples) => samples,
            Err(_) => Err(DeviceError::new(DeviceErrorKind::Other, "the driver panicked")),
        };
        if let Ok(driver) = self.take().await {
            self.driver = Place::Here(driver);
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Measures once per message in the channel, and counts the measurements.
    struct TriggeredSensor(mpsc::Receiver<()>, f64);

    impl BlockingSensor for TriggeredSensor {
        fn quantities(&self) -> Vec<Quantity> {
            vec![Quantity::Distance]
        }

        fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
            self.0.recv().map_err(|_| DeviceErrorKind::Timeout)?;
            self.1 += 1.0;
            Ok(vec![Sample::new(Quantity::Distance, self.1)])
        }
    }

    #[tokio::test]
    async fn a_cancelled_read_leaves_the_sensor_usable() {
        let (trigger, triggers) = mpsc::channel();
        let mut sensor = Blocking::new(TriggeredSensor(triggers, 0.0));

        tokio::select! {
            biased;
            _ = sensor.read() => unreachable!("it was not triggered"),
            () = tokio::task::yield_now() => {}
        }
        trigger.send(()).unwrap();
        trigger.send(()).unwrap();
        let samples = sensor.read().await.unwrap();

        assert_eq!(samples, [Sample::new(Quantity::Distance, 2.0)]);
    }

    #[tokio::test]
    async fn a_driver_that_panicked_returns_an_error_from_then_on() {
        struct PanickingSensor;
        impl BlockingSensor for PanickingSensor {
            fn quantities(&self) -> Vec<Quantity> {
                vec![Quantity::Co2]
            }
            fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
                panic!("expected by the test")
            }
        }
        let mut sensor = Blocking::new(PanickingSensor);

        for _ in 0..2 {
            assert_eq!(sensor.read().await.unwrap_err().kind(), DeviceErrorKind::Other);
        }
        assert_eq!(sensor.quantities(), [Quantity::Co2]);
    }
}
