//! Microchip MCP9808: temperature, ±0.25 °C.
//!
//! # Wiring
//! VDD to 3.3 V, GND to ground, SDA to BCM 2, SCL to BCM 3. Address `0x18`, up to `0x1F` by A0, A1 and A2. Boot
//! configuration: `dtparam=i2c_arm=on`.
//!
//! # Datasheet
//! DS25095A: sections 5.1.1 (configuration), 5.1.3 (ambient temperature), 5.1.5 and 5.1.6 (ids), 5.2.4
//! (conversion time: 250 ms at 0.0625 °C). The register is 0 °C until the first conversion has ended, so the
//! driver starts each conversion and waits for it.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no device answers` | wiring, or another address: `i2cdetect -y 1` |
//! | `not found: ... is no MCP9808` | another chip has this address, for example an accelerometer LIS3DH |

use embedded_hal::{delay::DelayNs, i2c::I2c};
use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample};

use crate::drivers::{BlockingSensor, I2cRegisters, in_range};

/// The lowest I2C address: A0, A1 and A2 connected to ground.
pub const FIRST_ADDRESS: u8 = 0x18;
/// The highest I2C address.
pub const LAST_ADDRESS: u8 = 0x1F;

/// The registers the driver uses (section 5.1).
pub(crate) mod register {
    pub const CONFIGURATION: u8 = 0x01;
    pub const TEMPERATURE: u8 = 0x05;
    pub const MANUFACTURER_ID: u8 = 0x06;
    pub const DEVICE_ID: u8 = 0x07;

    pub const MICROCHIP: u16 = 0x0054;
    /// The high byte; the low byte is the revision.
    pub const MCP9808: u16 = 0x04;
    pub const SHUTDOWN: u16 = 1 << 8;
}

/// Typically 250 ms; the datasheet has no maximum.
const CONVERSION_MILLIS: u32 = 300;

/// The driver. The chip sleeps between measurements.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::{BlockingSensor, mcp9808::{FIRST_ADDRESS, Mcp9808}}, sim::{self, SimI2c, Weather, World}};
///
/// let world = World::still(Weather { temperature: -3.25, ..Weather::default() });
/// let bus = SimI2c::new().with_chip(FIRST_ADDRESS, sim::mcp9808(world));
/// let mut sensor = Mcp9808::new(bus.clone(), bus.delay(), FIRST_ADDRESS);
/// assert_eq!(sensor.sense()?[0].outcome.value(), Some(-3.25));
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Mcp9808<I, D> {
    chip: I2cRegisters<I>,
    delay: D,
}

impl<I: I2c, D: DelayNs> Mcp9808<I, D> {
    /// A driver on a bus. It does not access the chip before the first measurement.
    pub fn new(i2c: I, delay: D, address: u8) -> Self {
        Self { chip: I2cRegisters::new(i2c, address), delay }
    }

    fn word(&mut self, register: u8) -> Result<u16, DeviceError> {
        Ok(u16::from_be_bytes(self.chip.read(register)?))
    }

    fn check_id(&mut self) -> Result<(), DeviceError> {
        let ids = [self.word(register::MANUFACTURER_ID)?, self.word(register::DEVICE_ID)? >> 8];
        if ids == [register::MICROCHIP, register::MCP9808] {
            return Ok(());
        }
        let text = format!("the chip at {:#04x} is no MCP9808", self.chip.address());
        Err(DeviceError::new(DeviceErrorKind::NotFound, text))
    }

    fn configure(&mut self, configuration: u16) -> Result<(), DeviceError> {
        self.chip.write(register::CONFIGURATION, configuration.to_be_bytes())
    }

    fn measure(&mut self) -> Result<f64, DeviceError> {
        self.check_id()?;
        self.configure(register::SHUTDOWN)?;
        self.configure(0)?;
        self.delay.delay_ms(CONVERSION_MILLIS);
        let raw = self.word(register::TEMPERATURE)?;
        self.configure(register::SHUTDOWN)?;
        Ok(celsius(raw))
    }
}

/// The three highest bits are alarms; the others are a number of 13 bits in sixteenths.
fn celsius(raw: u16) -> f64 {
    f64::from((raw << 3).cast_signed() >> 3) / 16.0
}

impl<I: I2c + Send + 'static, D: DelayNs + Send + 'static> BlockingSensor for Mcp9808<I, D> {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Temperature]
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        Ok(vec![in_range(Quantity::Temperature, self.measure()?, -40.0..=125.0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_converted_as_the_datasheet_says() {
        // Register 5-4 and equation 5-1, with and without the alarm bits.
        assert_eq!(celsius(0xC190), 25.0);
        assert_eq!(celsius(0x0194), 25.25);
        assert_eq!(celsius(0x1FFF), -0.0625);
        assert_eq!(celsius(0xDD80), -40.0);
    }
}
