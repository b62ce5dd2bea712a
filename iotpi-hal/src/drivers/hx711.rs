//! Avia HX711: a converter for load cells, for scales.
//!
//! # Wiring
//! VCC to 3.3 V (the level of DT follows it), GND to ground, DT and SCK to any BCM pins. The four wires of the load
//! cell to E+, E-, A+ and A-.
//!
//! # Datasheet
//! HX711: serial interface (24 bits, most significant first; a 25th pulse selects channel A with gain 128), timing
//! (SCK high for 0.2 to 50 µs; after 60 µs the chip switches itself off). 10 measurements per second; 400 ms after
//! power-on until values are settled.
//!
//! # Measurement
//! Linux may interrupt the program while SCK is high. The driver measures each pulse, and discards a reading with one
//! that was too long. The result is the median of three readings.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `timeout: no measurement` | wiring; DT and SCK are swapped |
//! | `out of range` | the load cell is overloaded, or one of its wires is loose |
//! | the value falls with more load | A+ and A- are swapped, or `counts_per_kilogram` is negative |
//! | drifts | temperature; weigh something known now and then |

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use embedded_hal::{
    delay::DelayNs,
    digital::{InputPin, OutputPin},
};
use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample};

use crate::drivers::BlockingSensor;

const READINGS: usize = 3;
const LONGEST_PULSE: Duration = Duration::from_micros(50);
const POWER_OFF_MICROS: u32 = 100;
const SETTLING_MILLIS: u32 = 400;
const MAX_INTERRUPTED: u32 = 10;
const READY_PAUSE_MILLIS: u32 = 2;
const READY_TRIES: u32 = 300;
/// The ends of the scale of 24 bits.
const MAX_COUNTS: i32 = 0x7F_FFFF;
const MIN_COUNTS: i32 = -0x80_0000;

/// The driver on two pins.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_core::{Quantity, Unit};
/// use iotpi_hal::{drivers::{BlockingSensor, hx711::Hx711}, sim::{SimHx711, Weather, World}};
///
/// let mass = Quantity::new("mass".parse()?, "kilogram".parse()?);
/// let chip = SimHx711::new(World::still(Weather { mass: 2.5, ..Weather::default() }), 8_400, 430_000.0);
/// let mut scale = Hx711::new(chip.clone(), chip.clone(), chip.delay(), mass, 8_400, 430_000.0);
/// assert!((scale.sense()?[0].outcome.value().unwrap() - 2.5).abs() < 1e-5);
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug)]
pub struct Hx711<T, K, D> {
    data: T,
    clock: K,
    delay: D,
    quantity: Quantity,
    zero: i32,
    counts_per_unit: f64,
    /// The chip is at the beginning of a measurement.
    is_in_step: bool,
}

impl<T, K, D> Hx711<T, K, D>
where
    T: InputPin,
    T::Error: Debug,
    K: OutputPin,
    K::Error: Debug,
    D: DelayNs,
{
    /// A scale on the pins DT and SCK, with the counts of the empty scale and those of one unit of the quantity.
    pub fn new(data: T, clock: K, delay: D, quantity: Quantity, zero: i32, counts_per_unit: f64) -> Self {
        Self { data, clock, delay, quantity, zero, counts_per_unit, is_in_step: false }
    }

    /// Switches the chip off and on: after a reading that was not completed.
    fn restart(&mut self) -> Result<(), DeviceError> {
        self.clock.set_high().map_err(|e| DeviceError::pin(&e))?;
        self.delay.delay_us(POWER_OFF_MICROS);
        self.clock.set_low().map_err(|e| DeviceError::pin(&e))?;
        self.delay.delay_ms(SETTLING_MILLIS);
        Ok(())
    }

    fn wait_until_ready(&mut self) -> Result<(), DeviceError> {
        for _ in 0..READY_TRIES {
            if self.data.is_low().map_err(|e| DeviceError::pin(&e))? {
                return Ok(());
            }
            self.delay.delay_ms(READY_PAUSE_MILLIS);
        }
        Err(DeviceError::new(DeviceErrorKind::Timeout, "no measurement: check the supply and the wiring"))
    }

    /// One bit, or nothing if the pulse was too long.
    fn bit(&mut self) -> Result<Option<bool>, DeviceError> {
        let begin = Instant::now();
        self.clock.set_high().map_err(|e| DeviceError::pin(&e))?;
        let bit = self.data.is_high();
        self.clock.set_low().map_err(|e| DeviceError::pin(&e))?;
        let in_time = begin.elapsed() <= LONGEST_PULSE;
        bit.map(|bit| in_time.then_some(bit)).map_err(|e| DeviceError::pin(&e))
    }

    /// One reading, or nothing if it was interrupted.
    fn counts(&mut self) -> Result<Option<i32>, DeviceError> {
        if !self.is_in_step {
            self.restart()?;
        }
        self.is_in_step = false;
        self.wait_until_ready()?;
        let mut counts = 0_i32;
        for _ in 0..24 {
            let Some(bit) = self.bit()? else { return Ok(None) };
            counts = counts << 1 | i32::from(bit);
        }
        // The number has 24 bits with a sign. The last pulse selects the input of the next measurement.
        let counts = counts << 8 >> 8;
        let last = self.bit()?;
        self.is_in_step = last.is_some();
        Ok(last.map(|_| counts))
    }

    fn measure(&mut self) -> Result<i32, DeviceError> {
        let mut readings = Vec::with_capacity(READINGS);
        for _ in 0..READINGS as u32 + MAX_INTERRUPTED {
            readings.extend(self.counts()?);
            if readings.len() == READINGS {
                readings.sort_unstable();
                return Ok(readings[READINGS / 2]);
            }
        }
        let text = "the processor is too busy: every reading was interrupted";
        Err(DeviceError::new(DeviceErrorKind::Timeout, text))
    }
}

impl<T, K, D> BlockingSensor for Hx711<T, K, D>
where
    T: InputPin + Send + 'static,
    T::Error: Debug,
    K: OutputPin + Send + 'static,
    K::Error: Debug,
    D: DelayNs + Send + 'static,
{
    fn quantities(&self) -> Vec<Quantity> {
        vec![self.quantity.clone()]
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let counts = self.measure()?;
        if counts == MAX_COUNTS || counts == MIN_COUNTS {
            let text = "the load cell is overloaded, or a wire is loose";
            let error = DeviceError::new(DeviceErrorKind::OutOfRange, text);
            return Ok(vec![Sample::no_data(&self.quantity, error)]);
        }
        let value = f64::from(counts - self.zero) / self.counts_per_unit;
        Ok(vec![Sample::new(&self.quantity, value)])
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use super::*;
    use crate::sim::{Fault, SimHx711, Weather, World};

    fn sense(mass: f64) -> (SimHx711, Result<Vec<Sample>, DeviceError>) {
        let chip = SimHx711::new(World::still(Weather { mass, ..Weather::default() }), -1200, 400_000.0);
        let quantity = Quantity::new("mass".parse().unwrap(), "kilogram".parse().unwrap());
        let mut scale = Hx711::new(chip.clone(), chip.clone(), chip.delay(), quantity, -1200, 400_000.0);
        let samples = scale.sense();
        (chip, samples)
    }

    #[test]
    fn values_on_both_sides_of_zero_are_read() {
        for mass in [-3.25, 0.0, 12.5] {
            let samples = sense(mass).1.unwrap();
            assert_eq!(samples[0].outcome.value(), Some(mass));
        }
    }

    #[test]
    fn an_overloaded_cell_is_no_data() {
        let samples = sense(30.0).1.unwrap();

        assert_eq!(
            samples[0].outcome.reason(),
            Some("out of range: the load cell is overloaded, or a wire is loose")
        );
    }

    #[test]
    fn a_chip_that_is_never_ready_is_a_timeout() {
        let (chip, _) = sense(1.0);
        chip.faults().begin(Fault::Hung);
        let quantity = Quantity::new("mass".parse().unwrap(), "kilogram".parse().unwrap());

        let error =
            Hx711::new(chip.clone(), chip.clone(), chip.delay(), quantity, 0, 1.0).sense().unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::Timeout);
    }
}
