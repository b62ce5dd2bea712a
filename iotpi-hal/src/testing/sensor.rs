//! The contract of sensors.

use std::ops::RangeInclusive;

use iotpi_core::{DeviceError, Sample, Sensor, model::reading::SeriesSpec};

use crate::sim::{Fault, FaultSwitch};

/// The number of reads with each fault, and with random data.
const READS: u32 = 3;
const RANDOM_READS: u32 = 200;

/// Checks a sensor against the [contract](SensorContract) with its default faults: one line in a test.
///
/// `faults` is the switch of the simulated device below the driver. `expected` has the quantities of the
/// sensor (or series, if it has channels), each with the range in which its simulated value is, in its
/// canonical unit.
///
/// # Panics
/// The sensor breaks a rule; the message says which one.
pub async fn check_sensor(
    sensor: &mut (impl Sensor + ?Sized),
    faults: &FaultSwitch,
    expected: impl IntoIterator<Item = (impl Into<SeriesSpec>, RangeInclusive<f64>)>,
) {
    SensorContract::new(expected).check(sensor, faults).await;
}

/// The contract of sensors:
///
/// 1. A read returns one sample of each series, all in the expected range.
/// 2. While the driver can [detect](Self::detecting) a fault, a read returns an error or samples without data,
///    never a value.
/// 3. With any fault, and with random data, a read returns. The driver does not panic, and values are finite.
/// 4. The second read after a fault, at the latest, returns all values again. The device may be connected
///    after the module has started.
/// 5. A single failed transfer costs at most one read.
/// 6. A cancelled read leaves the sensor usable.
///
/// ```
/// use iotpi_core::Quantity;
/// use iotpi_hal::{drivers::motion::{Motion, MotionConfig}, sim::{Fault, SimPin}, testing::SensorContract};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pin = SimPin::new();
/// let mut motion = Motion::new(pin.clone(), MotionConfig::default());
///
/// // A pin cannot report that the sensor is not connected.
/// SensorContract::new([(Quantity::Motion, 0.0..=1.0)])
///     .detecting([Fault::Nack, Fault::BusLow])
///     .check(&mut motion, pin.faults())
///     .await;
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct SensorContract {
    expected: Vec<(SeriesSpec, RangeInclusive<f64>)>,
    detecting: Vec<Fault>,
}

impl SensorContract {
    /// The contract of a sensor with these quantities or series. Their simulated values are in these ranges,
    /// in the canonical units.
    #[must_use]
    pub fn new(expected: impl IntoIterator<Item = (impl Into<SeriesSpec>, RangeInclusive<f64>)>) -> Self {
        Self {
            expected: expected.into_iter().map(|(series, range)| (series.into(), range)).collect(),
            detecting: vec![Fault::Unplugged, Fault::Nack, Fault::BusLow],
        }
    }

    /// Sets the faults that the driver detects. The default is what every driver on a bus detects:
    /// [`Unplugged`](Fault::Unplugged), [`Nack`](Fault::Nack) and [`BusLow`](Fault::BusLow). A driver of a
    /// chip with checksums also detects [`Corrupt`](Fault::Corrupt).
    #[must_use]
    pub fn detecting(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.detecting = faults.into_iter().collect();
        self
    }

    /// Checks a sensor. `faults` is the switch of the simulated device below it.
    ///
    /// # Panics
    /// The sensor breaks a rule; the message says which one.
    pub async fn check(&self, sensor: &mut (impl Sensor + ?Sized), faults: &FaultSwitch) {
        self.check_series(sensor);
        // Before the first good read: the device is connected later than the module starts.
        for fault in [Fault::Unplugged, Fault::Nack] {
            self.check_fault(sensor, faults, fault, READS).await;
        }

        let before = faults.transfers();
        self.check_values(sensor, "without a fault", 1).await;
        let transfers = faults.transfers() - before;
        assert!(transfers > 0, "the driver does not use the simulated device of this fault switch");

        for fault in Fault::ALL {
            let reads = if fault == Fault::Noise { RANDOM_READS } else { READS };
            self.check_fault(sensor, faults, fault, reads).await;
        }
        for transfer in 0..transfers {
            faults.once(Fault::Nack, transfer);
            let _ = read(sensor).await;
            faults.end();
            self.check_values(sensor, &format!("after a failure of transfer {transfer}"), 1).await;
        }
        super::cancel(sensor.read()).await;
        self.check_values(sensor, "after a cancelled read", 1).await;
        self.check_series(sensor);
    }

    fn check_series(&self, sensor: &(impl Sensor + ?Sized)) {
        let all = sensor.series();
        let expected: Vec<_> = self.expected.iter().map(|(series, _)| series.clone()).collect();

        assert!(!all.is_empty(), "the sensor has no quantities");
        for (index, series) in all.iter().enumerate() {
            assert!(!all[..index].contains(series), "{} is listed twice", name(series));
            assert!(expected.contains(series), "{} is not expected", name(series));
            let is_listed = sensor.quantities().contains(&series.quantity);
            assert!(is_listed, "`quantities` does not list {}", series.quantity.name());
        }
        assert_eq!(all.len(), expected.len(), "expected {expected:?}, but the sensor has {all:?}");
    }

    /// Reads with a fault, then without it.
    async fn check_fault(
        &self,
        sensor: &mut (impl Sensor + ?Sized),
        faults: &FaultSwitch,
        fault: Fault,
        reads: u32,
    ) {
        faults.begin(fault);
        for _ in 0..reads {
            let samples = read(sensor).await.unwrap_or_default();
            if self.detecting.contains(&fault) {
                let invented = samples.iter().find(|sample| sample.outcome.value().is_some());
                assert!(invented.is_none(), "with fault {fault:?} the sensor returned {invented:?}");
            }
        }
        faults.end();
        self.check_values(sensor, &format!("after fault {fault:?}"), 2).await;
    }

    /// Reads until all values are in their ranges, at most `reads` times.
    async fn check_values(&self, sensor: &mut (impl Sensor + ?Sized), when: &str, reads: u32) {
        let mut last = String::new();
        for _ in 0..reads {
            let samples = match read(sensor).await {
                Ok(samples) => samples,
                Err(error) => {
                    last = error.to_string();
                    continue;
                }
            };
            let wrong = self.expected.iter().find_map(|(series, range)| {
                let sample = samples.iter().find(|sample| is_of(sample, series))?;
                let is_right = sample.outcome.value().is_some_and(|value| range.contains(&value));
                (!is_right).then(|| format!("{} is {:?}, not in {range:?}", name(series), sample.outcome))
            });
            match wrong {
                Some(wrong) => last = wrong,
                None => return,
            }
        }
        panic!("{when}, read {reads}: {last}");
    }
}

fn is_of(sample: &Sample, series: &SeriesSpec) -> bool {
    sample.quantity == series.quantity && sample.channel == series.channel
}

fn name(SeriesSpec { quantity, channel, .. }: &SeriesSpec) -> String {
    let quantity = quantity.name();
    channel.as_ref().map_or(quantity.to_string(), |channel| format!("{quantity} of channel {channel}"))
}

/// Reads, and checks the form of the answer.
async fn read(sensor: &mut (impl Sensor + ?Sized)) -> Result<Vec<Sample>, DeviceError> {
    let samples = sensor.read().await?;
    let all = sensor.series();
    for series in &all {
        let count = samples.iter().filter(|sample| is_of(sample, series)).count();
        assert_eq!(count, 1, "a read returned {count} samples of {}", name(series));
    }
    let extra = samples.iter().find(|sample| !all.iter().any(|series| is_of(sample, series)));
    assert!(extra.is_none(), "a read returned a sample of an unlisted series: {extra:?}");
    let invalid =
        samples.iter().find(|sample| sample.outcome.value().is_some_and(|value| !value.is_finite()));
    assert!(invalid.is_none(), "a read returned a value that is not finite: {invalid:?}");
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use embedded_hal::i2c::I2c;
    use iotpi_core::{Channel, Quantity};

    use super::*;
    use crate::{
        blocking::Blocking,
        drivers::{BlockingSensor, I2cRegisters},
        sim::{RegisterMap, SimI2c},
    };

    /// What a broken driver does wrong.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Flaw {
        None,
        /// Returns the last value after an error.
        InventsValues,
        /// Panics on an unexpected register.
        Panics,
        /// Does not recover from an error.
        GivesUp,
        /// Returns a wrong value.
        IsWrong,
        /// Omits a quantity of its list.
        ListsMore,
    }

    /// A thermometer of one register, in degrees.
    struct Thermometer {
        chip: I2cRegisters<SimI2c>,
        flaw: Flaw,
        has_failed: bool,
    }

    impl BlockingSensor for Thermometer {
        fn quantities(&self) -> Vec<Quantity> {
            let second = (self.flaw == Flaw::ListsMore).then_some(Quantity::Humidity);
            [Quantity::Temperature].into_iter().chain(second).collect()
        }

        fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
            let read = self.chip.read(0x00);
            self.has_failed |= read.is_err();
            let celsius = match (read, self.flaw) {
                (Err(_), Flaw::InventsValues) => 20,
                (_, Flaw::GivesUp) if self.has_failed => return Err(iotpi_core::DeviceErrorKind::Bus.into()),
                (read, _) => i8::from_be_bytes(read?),
            };
            assert!(self.flaw != Flaw::Panics || celsius == 20, "an unexpected register");
            let offset = if self.flaw == Flaw::IsWrong { 5.0 } else { 0.0 };
            Ok(vec![Sample::new(Quantity::Temperature, f64::from(celsius) + offset)])
        }
    }

    async fn check(flaw: Flaw) {
        let bus = SimI2c::new().with_chip(0x18, RegisterMap::<u8>::new().read_only(0x00, 20));
        let chip = I2cRegisters::new(bus.clone(), 0x18);
        let mut sensor = Blocking::new(Thermometer { chip, flaw, has_failed: false });
        let expected = [(Quantity::Temperature, 19.5..=20.5), (Quantity::Humidity, 0.0..=100.0)];
        let count = sensor.quantities().len();

        check_sensor(&mut sensor, bus.faults(), expected.into_iter().take(count)).await;
    }

    async fn message(flaw: Flaw) -> String {
        let panic = tokio::spawn(check(flaw)).await.unwrap_err().into_panic();
        *panic.downcast::<String>().unwrap()
    }

    #[tokio::test]
    async fn a_good_driver_passes() {
        check(Flaw::None).await;
    }

    #[tokio::test]
    async fn the_message_for_a_broken_driver_names_the_rule() {
        for (flaw, text) in [
            (Flaw::InventsValues, "with fault Unplugged the sensor returned"),
            (Flaw::Panics, "the driver panicked"),
            (Flaw::GivesUp, "after fault Unplugged"),
            (Flaw::IsWrong, "temperature is Value(25.0), not in 19.5..=20.5"),
            (Flaw::ListsMore, "a read returned 0 samples of humidity"),
        ] {
            let message = message(flaw).await;

            assert!(message.contains(text), "{flaw:?}: {message}");
        }
    }

    /// A converter with one register for each channel, in volts.
    struct Converter(I2cRegisters<SimI2c>);

    fn channels() -> [SeriesSpec; 2] {
        ["a0", "a1"].map(|name| SeriesSpec::new(Quantity::Voltage).with_channel(Channel::new(name).unwrap()))
    }

    impl BlockingSensor for Converter {
        fn quantities(&self) -> Vec<Quantity> {
            vec![Quantity::Voltage]
        }

        fn series(&self) -> Vec<SeriesSpec> {
            channels().to_vec()
        }

        fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
            let volts: [u8; 2] = self.0.read(0x00)?;
            Ok(channels().into_iter().zip(volts).map(|(one, value)| Sample::new(one, value.into())).collect())
        }
    }

    #[tokio::test]
    async fn a_driver_may_have_several_channels_of_one_quantity() {
        let bus = SimI2c::new().with_chip(0x48, RegisterMap::<u8>::new().read_only_block(0x00, [3, 5]));
        let mut sensor = Blocking::new(Converter(I2cRegisters::new(bus.clone(), 0x48)));
        let [a0, a1] = channels();

        check_sensor(&mut sensor, bus.faults(), [(a0, 3.0..=3.0), (a1, 5.0..=5.0)]).await;
    }

    #[tokio::test]
    #[should_panic(expected = "does not use the simulated device of this fault switch")]
    async fn another_fault_switch_is_noticed() {
        let bus = SimI2c::new().with_chip(0x18, RegisterMap::<u8>::new().read_only(0x00, 20));
        bus.clone().write(0x18, &[0]).unwrap();
        let chip = I2cRegisters::new(bus, 0x18);
        let mut sensor = Blocking::new(Thermometer { chip, flaw: Flaw::None, has_failed: false });

        SensorContract::new([(Quantity::Temperature, 19.5..=20.5)])
            .detecting([])
            .check(&mut sensor, &FaultSwitch::default())
            .await;
    }
}
