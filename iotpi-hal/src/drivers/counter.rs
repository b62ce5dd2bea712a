//! A counter of pulses: a water or gas meter with a reed contact, an energy meter with an S0 output, a rain
//! gauge, an anemometer.
//!
//! # Wiring
//! The two wires of the contact to any BCM pin and to ground, with the pull-up resistor of the pin. An S0 output
//! (IEC 62053-31) is a transistor: S0+ to the pin, S0- to ground; its pulses last 30 ms at least.
//!
//! # The total
//! The number of pulses is stored before each reading that reports it, so the total never decreases. A power
//! cut loses the pulses since the last reading, and those during the cut are not counted.
//!
//! # Troubleshooting
//! | symptom | possible cause |
//! |---|---|
//! | two counts for one pulse | a longer `debounce_ms`; it must be shorter than a pulse |
//! | the total restarts at 0 | no `state_file` and no state folder |
//! | `the count of pulses cannot be stored` | the disk is full, or the user may not write into the folder |

use std::{fs, io, path::PathBuf, time::Duration};

use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample, Sensor, async_trait};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::state_file;
use crate::bus::{Edge, EdgeInput};

/// The quantities of a counter.
///
/// ```
/// use iotpi_core::Quantity;
/// use iotpi_hal::drivers::counter::CounterConfig;
///
/// // An energy meter with 1,000 pulses per kilowatt-hour: 1 Wh each, and one per second is 3,600 W.
/// let energy = Quantity::new("energy".parse()?, "watt_hour".parse()?);
/// let config = CounterConfig::new(energy, 1.0).with_rate(Quantity::Power, 3600.0);
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CounterConfig {
    total: (Quantity, f64),
    rate: Option<(Quantity, f64)>,
    active_low: bool,
}

impl CounterConfig {
    /// The total of a counter: its quantity, and the amount of one pulse in the unit of the quantity.
    #[must_use]
    pub fn new(total: Quantity, scale: f64) -> Self {
        Self { total: (total, scale), rate: None, active_low: false }
    }

    /// Also reports a rate: its quantity, and its value at one pulse per second.
    #[must_use]
    pub fn with_rate(mut self, rate: Quantity, scale: f64) -> Self {
        self.rate = Some((rate, scale));
        self
    }

    /// Counts falling edges instead of rising ones.
    #[must_use]
    pub fn active_low(mut self) -> Self {
        self.active_low = true;
        self
    }
}

/// The counter on a pin.
///
/// The rate follows from the times of the edges. Without a new pulse it falls as the time since the last one
/// grows.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_core::{Quantity, Sensor};
/// use iotpi_hal::{drivers::counter::{Counter, CounterConfig}, sim::SimPin};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pin = SimPin::new();
/// let rain = Quantity::new("rain".parse()?, "millimetre".parse()?);
/// let mut gauge = Counter::new(pin.clone(), CounterConfig::new(rain, 0.25));
///
/// for _ in 0..3 {
///     pin.drive(true);
///     pin.drive(false);
/// }
/// assert_eq!(gauge.read().await?[0].outcome.value(), Some(0.75));
/// # Ok::<(), iotpi_core::AnyError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Counter<P> {
    pin: P,
    config: CounterConfig,
    file: Option<PathBuf>,
    pulses: u64,
    /// The number of pulses in the file.
    stored: u64,
    rate: Rate,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    pulses: u64,
}

impl<P: EdgeInput> Counter<P> {
    /// A counter that begins at zero.
    pub fn new(pin: P, config: CounterConfig) -> Self {
        Self { pin, config, file: None, pulses: 0, stored: 0, rate: Rate::new() }
    }

    /// The same counter, which continues with the number of pulses in a file. The file is created with the first
    /// pulse.
    ///
    /// # Errors
    /// An error of the file; [`DeviceErrorKind::InvalidData`] if it has another content.
    pub fn with_file(mut self, file: PathBuf) -> Result<Self, DeviceError> {
        match fs::read(&file) {
            Ok(content) => {
                let stored: Stored = serde_json::from_slice(&content).map_err(|e| {
                    let text = format!("{} contains no count of pulses ({e})", file.display());
                    DeviceError::new(DeviceErrorKind::InvalidData, text)
                })?;
                (self.pulses, self.stored) = (stored.pulses, stored.pulses);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        self.file = Some(file);
        Ok(self)
    }

    /// Takes the edges that wait.
    fn count(&mut self) -> Result<(), DeviceError> {
        while let Some(edge) = self.pin.next_edge()? {
            let pulses = pulses(edge, self.config.active_low);
            self.pulses += pulses;
            self.rate.add(pulses, edge.at);
        }
        Ok(())
    }

    async fn store(&mut self) -> Result<(), DeviceError> {
        let Some(file) = self.file.clone().filter(|_| self.pulses != self.stored) else { return Ok(()) };
        let pulses = self.pulses;
        let content = serde_json::to_vec(&Stored { pulses })?;
        // Flash may take a second to write: not on the thread of the other devices.
        let written = tokio::task::spawn_blocking(move || state_file::replace(&file, &content)).await;
        written.unwrap_or_else(|panicked| Err(io::Error::other(panicked))).map_err(|e| {
            let text = format!("the count of pulses cannot be stored: {e}");
            DeviceError::new(DeviceError::from(e).kind(), text)
        })?;
        self.stored = pulses;
        Ok(())
    }
}

/// The number of pulses that an edge stands for: itself, and those among the lost edges before it. Rising and
/// falling edges alternate.
fn pulses(edge: Edge, active_low: bool) -> u64 {
    let lost = u64::from(edge.lost);
    if edge.is_high == active_low { lost.div_ceil(2) } else { 1 + lost / 2 }
}

#[async_trait]
impl<P: EdgeInput> Sensor for Counter<P> {
    fn quantities(&self) -> Vec<Quantity> {
        let rate = self.config.rate.iter().map(|(quantity, _)| quantity.clone());
        [self.config.total.0.clone()].into_iter().chain(rate).collect()
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        self.count()?;
        // Only to report a pin that cannot be read.
        self.pin.is_high()?;
        self.store().await?;
        let (total, scale) = &self.config.total;
        // Exact up to 2^53 pulses.
        #[allow(clippy::cast_precision_loss)]
        let mut samples = vec![Sample::new(total, self.pulses as f64 * scale)];
        if let Some((rate, scale)) = &self.config.rate {
            samples.push(Sample::new(rate, self.rate.per_second() * scale));
        }
        Ok(samples)
    }

    /// Counts, and does not complete: a pulse is reported at the next interval.
    async fn changed(&mut self) {
        loop {
            self.pin.wait_for_edge().await;
            if self.count().is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Pulses per second.
#[derive(Debug)]
struct Rate {
    per_second: f64,
    /// The pulses since the last call of `per_second`, and the times of the first and the last one.
    pulses: u64,
    span: Option<(Duration, Duration)>,
    /// The time of the last pulse before them.
    previous_at: Option<Duration>,
    /// The time at which the last pulse was counted, or the counter was started.
    counted_at: Instant,
}

impl Rate {
    fn new() -> Self {
        Self { per_second: 0.0, pulses: 0, span: None, previous_at: None, counted_at: Instant::now() }
    }

    fn add(&mut self, pulses: u64, at: Duration) {
        if pulses > 0 {
            self.pulses += pulses;
            self.span = Some((self.span.map_or(at, |(first, _)| first), at));
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn per_second(&mut self) -> f64 {
        let since = self.counted_at.elapsed();
        let rate = |pulses: u64, time: Duration| pulses as f64 / time.as_secs_f64();
        match (self.span.take(), self.previous_at) {
            (Some((_, last)), Some(previous)) if last > previous => {
                self.per_second = rate(self.pulses, last - previous);
                self.restart(last);
            }
            (Some((first, last)), None) if last > first => {
                self.per_second = rate(self.pulses - 1, last - first);
                self.restart(last);
            }
            // The first pulse, since the start of the counter.
            (Some((_, last)), _) => {
                self.per_second = rate(self.pulses, since.max(Duration::from_millis(1)));
                self.restart(last);
            }
            (None, _) if since.is_zero() => {}
            (None, _) => self.per_second = self.per_second.min(rate(1, since)),
        }
        self.per_second
    }

    fn restart(&mut self, last: Duration) {
        self.pulses = 0;
        self.previous_at = Some(last);
        self.counted_at = Instant::now();
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use super::*;
    use crate::sim::{Fault, SimPin};

    fn config() -> CounterConfig {
        let energy = Quantity::new("energy".parse().unwrap(), "watt_hour".parse().unwrap());
        CounterConfig::new(energy, 1.0).with_rate(Quantity::Power, 3600.0)
    }

    async fn pulse(pin: &SimPin, count: u32, interval: Duration) {
        for _ in 0..count {
            pin.drive(true);
            pin.drive(false);
            tokio::time::sleep(interval).await;
        }
    }

    async fn values(counter: &mut Counter<SimPin>) -> Vec<f64> {
        counter.read().await.unwrap().iter().map(|sample| sample.outcome.value().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_follows_from_the_times_of_the_pulses() {
        let pin = SimPin::new();
        let mut meter = Counter::new(pin.clone(), config());

        let before = values(&mut meter).await;
        pulse(&pin, 5, Duration::from_secs(2)).await;
        let during = values(&mut meter).await;
        tokio::time::sleep(Duration::from_secs(34)).await;
        let after = values(&mut meter).await;

        assert_eq!(before, [0.0, 0.0]);
        assert_eq!(during, [5.0, 1800.0]);
        assert_eq!(after[0], 5.0);
        assert!((after[1] - 3600.0 / 34.0).abs() < 3.0, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_continues_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (pin, file) = (SimPin::new(), folder.path().join("counter.json"));
        let start = || Counter::new(pin.clone(), config()).with_file(file.clone()).unwrap();

        let mut meter = start();
        pulse(&pin, 3, Duration::from_secs(1)).await;
        let first = values(&mut meter).await[0];
        drop(meter);
        pulse(&pin, 2, Duration::from_secs(1)).await;
        let second = values(&mut start()).await[0];

        assert_eq!((first, second), (3.0, 5.0));
    }

    #[tokio::test]
    async fn a_file_with_another_content_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{}").unwrap();

        let error = Counter::new(SimPin::new(), config()).with_file(file.path().to_owned()).unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::InvalidData);
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_cannot_be_stored_is_an_error_and_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let pin = SimPin::new();
        let counter = Counter::new(pin.clone(), config());
        let mut meter = counter.with_file(folder.path().join("missing/counter.json")).unwrap();
        pulse(&pin, 2, Duration::from_secs(1)).await;

        let error = meter.read().await.unwrap_err();
        fs::create_dir(folder.path().join("missing")).unwrap();

        assert!(error.to_string().contains("cannot be stored"), "{error}");
        assert_eq!(values(&mut meter).await[0], 2.0);
    }

    #[tokio::test(start_paused = true)]
    async fn pulses_are_counted_while_the_module_waits_for_its_interval() {
        let pin = SimPin::new();
        let mut meter = Counter::new(pin.clone(), config());

        let waiting = tokio::time::timeout(Duration::from_secs(60), meter.changed());
        let (never, ()) = tokio::join!(waiting, pulse(&pin, 3000, Duration::from_millis(10)));
        pin.faults().begin(Fault::Nack);
        let failed = meter.read().await;
        pin.faults().end();

        assert!(never.is_err() && failed.is_err());
        assert_eq!(values(&mut meter).await[0], 3000.0);
    }

    #[test]
    fn lost_edges_are_counted() {
        let edge = |is_high, lost| Edge { is_high, at: Duration::ZERO, lost };

        // Lost: low, high. Then high is impossible, but the kernel may also lose single edges.
        assert_eq!([0, 1, 2, 3].map(|lost| pulses(edge(true, lost), false)), [1, 1, 2, 2]);
        assert_eq!([0, 1, 2, 3].map(|lost| pulses(edge(false, lost), false)), [0, 1, 1, 2]);
        assert_eq!(pulses(edge(false, 0), true), 1);
    }
}
