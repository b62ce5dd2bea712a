//! Aosong AHT20 (and AHT21, AM2301B): temperature and humidity.
//!
//! # Wiring
//! VDD to 3.3 V, GND to ground, SDA to BCM 2, SCL to BCM 3. The address is always `0x38`. Boot configuration:
//! `dtparam=i2c_arm=on`.
//!
//! # Datasheet
//! AHT20, version 1.1, sections 5.3 and 5.4 (commands, status, checksum) and 6 (conversion). ±0.3 °C, ±2 %.
//! Power-up time 40 ms. A measurement takes 80 ms.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no device answers` | wiring; a second AHT20 on the same bus has the same address |
//! | `timeout` | the supply is too weak or was interrupted |
//! | `checksum` | long wires, or missing pull-up resistors |

use embedded_hal::{delay::DelayNs, i2c::I2c};
use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample};

use super::crc8::{crc8, wrong_checksum};
use crate::drivers::{BlockingSensor, I2cCommands, in_range};

/// The I2C address of every AHT20.
pub const ADDRESS: u8 = 0x38;

const INITIALIZE: [u8; 3] = [0xBE, 0x08, 0x00];
const MEASURE: [u8; 3] = [0xAC, 0x33, 0x00];
const RESET: [u8; 1] = [0xBA];
const IS_BUSY: u8 = 1 << 7;
const IS_CALIBRATED: u8 = 1 << 3;

/// The driver.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::{BlockingSensor, aht20::{ADDRESS, Aht20}}, sim::{self, SimI2c, Weather, World}};
///
/// let world = World::still(Weather { temperature: 19.5, ..Weather::default() });
/// let bus = SimI2c::new().with_chip(ADDRESS, sim::aht20(world));
/// let mut sensor = Aht20::new(bus.clone(), bus.delay());
/// assert!((sensor.sense()?[0].outcome.value().unwrap() - 19.5).abs() < 0.01);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Aht20<I, D> {
    i2c: I2cCommands<I>,
    delay: D,
    is_initialized: bool,
}

impl<I: I2c, D: DelayNs> Aht20<I, D> {
    /// A driver on a bus. It does not access the chip before the first measurement.
    pub fn new(i2c: I, delay: D) -> Self {
        Self { i2c: I2cCommands::new(i2c, ADDRESS), delay, is_initialized: false }
    }

    /// Reset, and the calibration of the chip, which takes 10 ms (section 5.4).
    fn initialize(&mut self) -> Result<(), DeviceError> {
        self.i2c.write(&RESET)?;
        self.delay.delay_ms(20);
        self.i2c.write(&INITIALIZE)?;
        self.delay.delay_ms(10);
        Ok(())
    }

    fn measure(&mut self) -> Result<[f64; 2], DeviceError> {
        if !self.is_initialized {
            self.initialize()?;
        }
        self.is_initialized = false;
        self.i2c.write(&MEASURE)?;
        self.delay.delay_ms(80);
        let answer: [u8; 7] = self.i2c.read()?;
        if answer[0] & IS_BUSY != 0 {
            return Err(DeviceError::new(DeviceErrorKind::Timeout, "the chip does not finish measuring"));
        }
        if crc8(&answer[..6]) != answer[6] {
            return Err(wrong_checksum());
        }
        if answer[0] & IS_CALIBRATED == 0 {
            let text = "the chip is not calibrated: it is initialized before the next measurement";
            return Err(DeviceError::new(DeviceErrorKind::InvalidData, text));
        }
        self.is_initialized = true;
        Ok(convert(&answer))
    }
}

/// Degrees Celsius and per cent: 20 bits each, humidity first.
fn convert(answer: &[u8; 7]) -> [f64; 2] {
    let [_, h1, h2, shared, t1, t2, _] = answer.map(u32::from);
    let humidity = h1 << 12 | h2 << 4 | shared >> 4;
    let temperature = (shared & 0x0F) << 16 | t1 << 8 | t2;
    let share = |raw: u32| f64::from(raw) / 1_048_576.0;
    [share(temperature) * 200.0 - 50.0, share(humidity) * 100.0]
}

impl<I: I2c + Send + 'static, D: DelayNs + Send + 'static> BlockingSensor for Aht20<I, D> {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Temperature, Quantity::Humidity]
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let [temperature, humidity] = self.measure()?;
        Ok(vec![
            in_range(Quantity::Temperature, temperature, -40.0..=85.0),
            in_range(Quantity::Humidity, humidity, 0.0..=100.0),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_converted_as_the_datasheet_says() {
        // Section 6: half of the range is 50 % and 50 °C.
        assert_eq!(convert(&[0, 0x80, 0x00, 0x08, 0x00, 0x00, 0]), [50.0, 50.0]);
        assert_eq!(convert(&[0, 0x00, 0x00, 0x00, 0x00, 0x00, 0]), [-50.0, 0.0]);
    }
}
