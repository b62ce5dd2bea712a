//! ROHM BH1750 (boards GY-30, GY-302): illuminance.
//!
//! # Wiring
//! VCC to 3.3 V, GND to ground, SDA to BCM 2, SCL to BCM 3. Address `0x23`, or `0x5C` with ADDR at VCC. Boot
//! configuration: `dtparam=i2c_arm=on`.
//!
//! # Datasheet
//! BH1750FVI, version 2012-10: instruction set, measurement procedure. 1 to 54,612 lx in steps of 0.83 lx, ±20 %.
//! A measurement takes 180 ms at most; the chip switches itself off afterwards.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no device answers` | wiring, or the other address: `i2cdetect -y 1` |
//! | `out of range` | more than 54,612 lx: direct sunlight. Or the data line is not connected |
//! | always 0 | the sensor is covered; the chip is damaged. It has neither an id nor a checksum |

use embedded_hal::{delay::DelayNs, i2c::I2c};
use iotpi_core::{DeviceError, Quantity, Sample};

use crate::drivers::{BlockingSensor, I2cCommands, in_range};

/// The I2C address with ADDR connected to ground.
pub const PRIMARY_ADDRESS: u8 = 0x23;
/// The I2C address with ADDR connected to the supply.
pub const SECONDARY_ADDRESS: u8 = 0x5C;

/// One measurement in high-resolution mode, and its longest duration.
const MEASURE_ONCE: u8 = 0x20;
const MEASUREMENT_MILLIS: u32 = 180;
const STEPS_PER_LUX: f64 = 1.2;
/// The largest value of the register means the same or more.
const MAX_LUX: f64 = 65_534.0 / STEPS_PER_LUX;

/// The driver. The chip is switched off between measurements.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::{BlockingSensor, bh1750::{Bh1750, PRIMARY_ADDRESS}}, sim::{self, SimI2c, Weather, World}};
///
/// let world = World::still(Weather { illuminance: 480.0, ..Weather::default() });
/// let bus = SimI2c::new().with_chip(PRIMARY_ADDRESS, sim::bh1750(world));
/// let mut sensor = Bh1750::new(bus.clone(), bus.delay(), PRIMARY_ADDRESS);
/// assert_eq!(sensor.sense()?[0].outcome.value(), Some(480.0));
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Bh1750<I, D> {
    i2c: I2cCommands<I>,
    delay: D,
}

impl<I: I2c, D: DelayNs> Bh1750<I, D> {
    /// A driver on a bus. It does not access the chip before the first measurement.
    pub fn new(i2c: I, delay: D, address: u8) -> Self {
        Self { i2c: I2cCommands::new(i2c, address), delay }
    }
}

fn lux(bytes: [u8; 2]) -> f64 {
    f64::from(u16::from_be_bytes(bytes)) / STEPS_PER_LUX
}

impl<I: I2c + Send + 'static, D: DelayNs + Send + 'static> BlockingSensor for Bh1750<I, D> {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Illuminance]
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        self.i2c.write(&[MEASURE_ONCE])?;
        self.delay.delay_ms(MEASUREMENT_MILLIS);
        let lux = lux(self.i2c.read()?);
        Ok(vec![in_range(Quantity::Illuminance, lux, 0.0..=MAX_LUX)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_example_of_the_datasheet() {
        // Measurement result: 0b1000_0011_1001_0000 is 28,067 lx.
        assert_eq!(lux([0b1000_0011, 0b1001_0000]).round(), 28_067.0);
    }

    #[test]
    #[cfg(feature = "sim")]
    fn a_saturated_sensor_is_no_data() {
        use crate::sim::{self, SimI2c, Weather, World};

        let sun = Weather { illuminance: 90_000.0, ..Weather::default() };
        let bus = SimI2c::new().with_chip(PRIMARY_ADDRESS, sim::bh1750(World::still(sun)));

        let samples = Bh1750::new(bus.clone(), bus.delay(), PRIMARY_ADDRESS).sense().unwrap();

        assert!(samples[0].outcome.reason().unwrap().starts_with("out of range: 54612.5 lux"));
    }
}
