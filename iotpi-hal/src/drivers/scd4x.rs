//! Sensirion SCD40 and SCD41: carbon dioxide, with temperature and humidity.
//!
//! # Wiring
//! VDD to 3.3 V, GND to ground, SDA to BCM 2, SCL to BCM 3. The address is always `0x62`. It needs up to 205 mA for
//! moments: no other load at the same wire. Boot configuration: `dtparam=i2c_arm=on`.
//!
//! # Datasheet
//! SCD4x, version 1.5: sections 3.5 (periodic measurement), 3.8.2 (data ready), 3.11 (checksum). ±(50 ppm + 5 %).
//! Power-up time 30 ms; one measurement every 5 s. The self-calibration of the chip stays on: it needs fresh air
//! once a week.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no device answers` | wiring; the supply breaks down when the chip measures |
//! | `timeout: no measurement` | the supply broke down: the chip is started again at the next read |
//! | `checksum` | long wires, or missing pull-up resistors |
//! | too low by hundreds | self-calibration without fresh air: ventilate, and wait for a week |
//!
//! # Deliberately absent
//! Settings in the memory of the chip: altitude, temperature offset, forced calibration.

use embedded_hal::{delay::DelayNs, i2c::I2c};
use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample};

use super::crc8;
use crate::drivers::{BlockingSensor, I2cCommands, in_range};

/// The I2C address of every SCD4x.
pub const ADDRESS: u8 = 0x62;

/// The commands of the driver (table 9).
pub(crate) mod command {
    pub const START: [u8; 2] = [0x21, 0xB1];
    pub const READ: [u8; 2] = [0xEC, 0x05];
    pub const STOP: [u8; 2] = [0x3F, 0x86];
    pub const IS_READY: [u8; 2] = [0xE4, 0xB8];
}

/// The time from one question for a measurement to the next, and their number: 6 s, for an interval of 5 s.
const READY_PAUSE_MILLIS: u32 = 100;
const READY_TRIES: u32 = 60;

/// The driver. The chip measures every 5 s from the first read on; a read waits for the next measurement, so the
/// first one takes 6 s.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::{BlockingSensor, scd4x::{ADDRESS, Scd4x}}, sim::{self, SimI2c, Weather, World}};
///
/// let world = World::still(Weather { co2: 812.0, ..Weather::default() });
/// let bus = SimI2c::new().with_chip(ADDRESS, sim::scd4x(world));
/// let mut sensor = Scd4x::new(bus.clone(), bus.delay());
/// assert_eq!(sensor.sense()?[0].outcome.value(), Some(812.0));
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Scd4x<I, D> {
    i2c: I2cCommands<I>,
    delay: D,
    is_started: bool,
}

impl<I: I2c, D: DelayNs> Scd4x<I, D> {
    /// A driver on a bus. It does not access the chip before the first measurement.
    pub fn new(i2c: I, delay: D) -> Self {
        Self { i2c: I2cCommands::new(i2c, ADDRESS), delay, is_started: false }
    }

    /// Starts the periodic measurement. It may run already: after a restart of the program.
    fn start(&mut self) -> Result<(), DeviceError> {
        self.i2c.write(&command::STOP)?;
        self.delay.delay_ms(500);
        self.i2c.write(&command::START)
    }

    fn measure(&mut self) -> Result<[u16; 3], DeviceError> {
        if !self.is_started {
            self.start()?;
        }
        self.is_started = false;
        self.wait_until_ready()?;
        self.i2c.write(&command::READ)?;
        self.delay.delay_ms(1);
        let words = crc8::words(&self.i2c.read::<9>()?)?;
        self.is_started = true;
        Ok(words)
    }

    fn wait_until_ready(&mut self) -> Result<(), DeviceError> {
        for _ in 0..READY_TRIES {
            self.i2c.write(&command::IS_READY)?;
            self.delay.delay_ms(1);
            let [status] = crc8::words(&self.i2c.read::<3>()?)?;
            if status & 0x07FF != 0 {
                return Ok(());
            }
            self.delay.delay_ms(READY_PAUSE_MILLIS);
        }
        Err(DeviceError::new(DeviceErrorKind::Timeout, "no measurement for 6 s: the chip is started again"))
    }
}

/// Parts per million, degrees Celsius and per cent.
fn convert([co2, temperature, humidity]: [u16; 3]) -> [f64; 3] {
    let share = |raw: u16| f64::from(raw) / 65_535.0;
    [f64::from(co2), -45.0 + 175.0 * share(temperature), 100.0 * share(humidity)]
}

impl<I: I2c + Send + 'static, D: DelayNs + Send + 'static> BlockingSensor for Scd4x<I, D> {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Co2, Quantity::Temperature, Quantity::Humidity]
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let [co2, temperature, humidity] = convert(self.measure()?);
        Ok(vec![
            in_range(Quantity::Co2, co2, 1.0..=40_000.0),
            in_range(Quantity::Temperature, temperature, -10.0..=60.0),
            in_range(Quantity::Humidity, humidity, 0.0..=100.0),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_example_of_the_datasheet() {
        // Section 3.5.2: 500 ppm, 25 °C, 37 %.
        let words = crc8::words(&[0x01, 0xF4, 0x33, 0x66, 0x67, 0xA2, 0x5E, 0xB9, 0x3C]).unwrap();

        let [co2, temperature, humidity] = convert(words);

        assert_eq!(co2, 500.0);
        assert!((temperature - 25.0).abs() < 0.01 && (humidity - 37.0).abs() < 0.01);
    }

    #[test]
    #[cfg(feature = "sim")]
    fn a_chip_that_was_reset_is_started_again() {
        use crate::sim::{self, SimI2c, Weather, World};

        let bus = SimI2c::new().with_chip(ADDRESS, sim::scd4x(World::still(Weather::default())));
        let mut sensor = Scd4x::new(bus.clone(), bus.delay());
        sensor.sense().unwrap();

        // The supply was interrupted.
        let bus = bus.with_chip(ADDRESS, sim::scd4x(World::still(Weather::default())));
        let kinds = [sensor.sense(), sensor.sense()].map(|read| read.map_err(|error| error.kind()).err());

        assert_eq!(kinds, [Some(DeviceErrorKind::Timeout), None]);
        drop(bus);
    }
}
