//! Sensirion SHT30, SHT31, SHT35 (SHT3x) and SHT40, SHT41, SHT45 (SHT4x): temperature and humidity.
//!
//! # Wiring
//! VDD to 3.3 V, GND to ground, SDA to BCM 2, SCL to BCM 3; boards have the pull-up resistors. Addresses: an
//! SHT3x has `0x44`, or `0x45` with ADDR at VDD; an SHT4x has the address of its order code: `0x44` (A), `0x45`
//! (B), `0x46` (C). Boot configuration: `dtparam=i2c_arm=on`.
//!
//! # Datasheet
//! SHT3x-DIS version 7 (sections 3, 4.3, 4.12, 4.13; tables 4 and 9) and SHT4x version 6.5 (sections 4.5, 4.6).
//! Accuracy of the best types: ±0.1 °C and ±1.5 % (SHT35), ±0.1 °C and ±1.0 % (SHT45). Power-up time 1 ms. The
//! heaters are not used.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no device answers` | wiring, or the other address: `i2cdetect -y 1` |
//! | `bus` | long wires; the chip was reset during the measurement: its supply |
//! | `checksum` | long wires, or missing pull-up resistors |
//! | `out of range` for humidity | condensation on the sensor: it returns more than 100 % until it is dry |

use embedded_hal::{delay::DelayNs, i2c::I2c};
use iotpi_core::{DeviceError, Quantity, Sample};

use super::crc8;
use crate::drivers::{BlockingSensor, I2cCommands, in_range};

/// The type of the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chip {
    /// SHT30, SHT31, SHT35.
    Sht3x,
    /// SHT40, SHT41, SHT43, SHT45.
    Sht4x,
}

/// The commands of a chip, and their longest durations.
pub(crate) struct Commands {
    /// Measures once with high repeatability, without clock stretching.
    pub measure: &'static [u8],
    pub measurement_micros: u32,
    /// Ends what another program may have started, and resets.
    pub reset: &'static [&'static [u8]],
    pub reset_micros: u32,
}

impl Chip {
    pub(crate) fn commands(self) -> Commands {
        match self {
            Self::Sht3x => Commands {
                measure: &[0x24, 0x00],
                measurement_micros: 15_500,
                reset: &[&[0x30, 0x93], &[0x30, 0xA2]],
                reset_micros: 1_500,
            },
            Self::Sht4x => Commands {
                measure: &[0xFD],
                measurement_micros: 8_300,
                reset: &[&[0x94]],
                reset_micros: 1_000,
            },
        }
    }

    /// Degrees Celsius and per cent.
    fn convert(self, [temperature, humidity]: [u16; 2]) -> [f64; 2] {
        let [temperature, humidity] = [temperature, humidity].map(|raw| f64::from(raw) / 65_535.0);
        let celsius = -45.0 + 175.0 * temperature;
        match self {
            Self::Sht3x => [celsius, 100.0 * humidity],
            Self::Sht4x => [celsius, -6.0 + 125.0 * humidity],
        }
    }
}

/// The driver. The chip sleeps between measurements.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::{BlockingSensor, sht::{Chip, Sht}}, sim::{self, SimI2c, Weather, World}};
///
/// let world = World::still(Weather { temperature: 19.5, ..Weather::default() });
/// let bus = SimI2c::new().with_chip(0x44, sim::sht(Chip::Sht4x, world));
/// let mut sensor = Sht::new(bus.clone(), bus.delay(), 0x44, Chip::Sht4x);
/// assert!((sensor.sense()?[0].outcome.value().unwrap() - 19.5).abs() < 0.01);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Sht<I, D> {
    i2c: I2cCommands<I>,
    delay: D,
    chip: Chip,
    is_reset: bool,
}

impl<I: I2c, D: DelayNs> Sht<I, D> {
    /// A driver on a bus. It does not access the chip before the first measurement.
    pub fn new(i2c: I, delay: D, address: u8, chip: Chip) -> Self {
        Self { i2c: I2cCommands::new(i2c, address), delay, chip, is_reset: false }
    }

    fn measure(&mut self) -> Result<[u16; 2], DeviceError> {
        let Commands { measure, measurement_micros, reset, reset_micros } = self.chip.commands();
        if !self.is_reset {
            for command in reset {
                self.i2c.write(command)?;
                self.delay.delay_us(reset_micros);
            }
        }
        self.is_reset = false;
        self.i2c.write(measure)?;
        self.delay.delay_us(measurement_micros);
        let words = crc8::words(&self.i2c.read::<6>()?)?;
        self.is_reset = true;
        Ok(words)
    }
}

impl<I: I2c + Send + 'static, D: DelayNs + Send + 'static> BlockingSensor for Sht<I, D> {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Temperature, Quantity::Humidity]
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let words = self.measure()?;
        let [temperature, humidity] = self.chip.convert(words);
        Ok(vec![
            in_range(Quantity::Temperature, temperature, -40.0..=125.0),
            in_range(Quantity::Humidity, humidity, 0.0..=100.0),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_converted_as_the_datasheets_say() {
        // Both datasheets: the ends of the scale, and its middle.
        assert_eq!(Chip::Sht3x.convert([0, 0]), [-45.0, 0.0]);
        assert_eq!(Chip::Sht3x.convert([0xFFFF, 0xFFFF]), [130.0, 100.0]);
        assert_eq!(Chip::Sht4x.convert([0, 0]), [-45.0, -6.0]);
        let [temperature, humidity] = Chip::Sht4x.convert([0x8000, 0x8000]);
        assert!((temperature - 42.5).abs() < 0.01 && (humidity - 56.5).abs() < 0.01);
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod sim_tests {
    use super::*;
    use crate::sim::{self, SimI2c, Weather, World};

    #[test]
    fn a_humidity_above_100_per_cent_is_no_data() {
        let wet = Weather { humidity: 104.0, ..Weather::default() };
        let bus = SimI2c::new().with_chip(0x44, sim::sht(Chip::Sht4x, World::still(wet)));

        let samples = Sht::new(bus.clone(), bus.delay(), 0x44, Chip::Sht4x).sense().unwrap();

        assert!((samples[0].outcome.value().unwrap() - 21.5).abs() < 0.01);
        assert!(samples[1].outcome.reason().unwrap().starts_with("out of range: 104"));
    }

    #[test]
    fn another_driver_reads_the_same_values_from_the_simulated_chip() {
        let weather = Weather { temperature: -12.25, humidity: 71.5, ..Weather::default() };
        let bus = SimI2c::new().with_chip(0x44, sim::sht(Chip::Sht4x, World::still(weather)));

        let ours = Sht::new(bus.clone(), bus.delay(), 0x44, Chip::Sht4x).sense().unwrap();
        let mut other = sht4x::Sht4x::new(bus.clone());
        let theirs = other.measure(sht4x::Precision::High, &mut bus.delay()).unwrap();

        let value = |sample: &Sample| sample.outcome.value().unwrap();
        assert!((value(&ours[0]) - f64::from(theirs.temperature_milli_celsius()) / 1000.0).abs() < 0.002);
        assert!((value(&ours[1]) - f64::from(theirs.humidity_milli_percent()) / 1000.0).abs() < 0.002);
    }
}
