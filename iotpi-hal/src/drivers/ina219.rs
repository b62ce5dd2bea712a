//! Texas Instruments INA219: voltage, current and power of a supply.
//!
//! # Wiring
//! VCC to 3.3 V, GND to ground, SDA to BCM 2, SCL to BCM 3. The load is between VIN- and the ground of its supply,
//! the supply at VIN+. Address `0x40`, up to `0x4F` by A0 and A1. Boards have a shunt of 0.1 ohm, for 3.2 A.
//!
//! # Datasheet
//! SBOS448G: sections 8.6.2 (configuration), 8.6.3.1 (shunt voltage, 10 µV), 8.6.3.2 (bus voltage, 4 mV; flags).
//! 0 to 26 V, ±0.5 % (INA219B). A measurement takes 1.2 ms. The current is computed from the shunt voltage, without
//! the calibration register.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no device answers` | wiring, or another address: `i2cdetect -y 1` |
//! | `not found: ... is no INA219` | another chip has this address, for example an INA226 or a PCA9685 |
//! | `out of range` for the current | more current than the shunt is for: 0.32 V across it |
//! | the current is negative | VIN+ and VIN- are swapped |

use embedded_hal::{delay::DelayNs, i2c::I2c};
use iotpi_core::{DeviceError, DeviceErrorKind, Outcome, Quantity, Sample};

use crate::drivers::{BlockingSensor, I2cRegisters, in_range};

/// The lowest I2C address: A0 and A1 connected to ground.
pub const FIRST_ADDRESS: u8 = 0x40;
/// The highest I2C address.
pub const LAST_ADDRESS: u8 = 0x4F;

/// The registers the driver uses (table 2).
pub(crate) mod register {
    pub const CONFIGURATION: u8 = 0x00;
    pub const SHUNT_VOLTAGE: u8 = 0x01;
    pub const BUS_VOLTAGE: u8 = 0x02;

    /// 32 V and 320 mV full scale, 12 bits, one measurement of both voltages.
    pub const MEASURE_ONCE: u16 = 0x399B;
    /// Flag of the bus voltage: the conversion has ended.
    pub const IS_READY: u16 = 1 << 1;
}

/// Steps of 10 µV and of 4 mV.
const SHUNT_STEPS_PER_VOLT: f64 = 100_000.0;
const BUS_STEPS_PER_VOLT: f64 = 250.0;
/// Twice 586 µs (section 7.5).
const MEASUREMENT_MICROS: u32 = 1_200;
/// At 320 mV the converter saturates.
const MAX_SHUNT_VOLTS: f64 = 0.319_99;

/// The driver. The chip measures only when it is read.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::{BlockingSensor, ina219::{FIRST_ADDRESS, Ina219}}, sim::{self, SimI2c, Weather, World}};
///
/// let world = World::still(Weather { voltage: 12.0, current: 0.5, ..Weather::default() });
/// let bus = SimI2c::new().with_chip(FIRST_ADDRESS, sim::ina219(world, 0.1));
/// let mut sensor = Ina219::new(bus.clone(), bus.delay(), FIRST_ADDRESS, 0.1);
/// assert_eq!(sensor.sense()?[2].outcome.value(), Some(6.0));
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Ina219<I, D> {
    chip: I2cRegisters<I>,
    delay: D,
    shunt_ohms: f64,
}

impl<I: I2c, D: DelayNs> Ina219<I, D> {
    /// A driver on a bus, with the resistance of the shunt in ohms. It does not access the chip before the first
    /// measurement.
    pub fn new(i2c: I, delay: D, address: u8, shunt_ohms: f64) -> Self {
        Self { chip: I2cRegisters::new(i2c, address), delay, shunt_ohms }
    }

    fn word(&mut self, register: u8) -> Result<u16, DeviceError> {
        Ok(u16::from_be_bytes(self.chip.read(register)?))
    }

    /// The voltages of the bus and of the shunt.
    fn measure(&mut self) -> Result<[f64; 2], DeviceError> {
        self.chip.write(register::CONFIGURATION, register::MEASURE_ONCE.to_be_bytes())?;
        // The chip has no id. It keeps what was written.
        if self.word(register::CONFIGURATION)? != register::MEASURE_ONCE {
            let text = format!("the chip at {:#04x} is no INA219", self.chip.address());
            return Err(DeviceError::new(DeviceErrorKind::NotFound, text));
        }
        self.delay.delay_us(MEASUREMENT_MICROS);
        let bus = self.word(register::BUS_VOLTAGE)?;
        if bus & register::IS_READY == 0 {
            return Err(DeviceError::new(DeviceErrorKind::Timeout, "the chip does not finish measuring"));
        }
        let shunt = self.word(register::SHUNT_VOLTAGE)?.cast_signed();
        Ok([f64::from(bus >> 3) / BUS_STEPS_PER_VOLT, f64::from(shunt) / SHUNT_STEPS_PER_VOLT])
    }
}

impl<I: I2c + Send + 'static, D: DelayNs + Send + 'static> BlockingSensor for Ina219<I, D> {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Voltage, Quantity::Current, Quantity::Power]
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let [volts, shunt_volts] = self.measure()?;
        let limit = MAX_SHUNT_VOLTS / self.shunt_ohms;
        let voltage = in_range(Quantity::Voltage, volts, 0.0..=26.0);
        let current = in_range(Quantity::Current, shunt_volts / self.shunt_ohms, -limit..=limit);
        let power = match (&voltage.outcome, &current.outcome) {
            (Outcome::Value(volts), Outcome::Value(amperes)) => Sample::new(Quantity::Power, volts * amperes),
            (Outcome::NoData(reason), _) | (_, Outcome::NoData(reason)) => {
                Sample::no_data(Quantity::Power, reason)
            }
        };
        Ok(vec![voltage, current, power])
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use super::*;
    use crate::sim::{self, SimI2c, Weather, World};

    fn bus(weather: Weather) -> SimI2c {
        SimI2c::new().with_chip(FIRST_ADDRESS, sim::ina219(World::still(weather), 0.1))
    }

    fn sense(bus: &SimI2c) -> Vec<Sample> {
        Ina219::new(bus.clone(), bus.delay(), FIRST_ADDRESS, 0.1).sense().unwrap()
    }

    #[test]
    fn a_negative_current_and_a_saturated_shunt_are_told_apart() {
        let charging = sense(&bus(Weather { current: -1.25, ..Weather::default() }));
        let saturated = sense(&bus(Weather { current: 4.0, ..Weather::default() }));

        assert_eq!(charging[1].outcome.value(), Some(-1.25));
        assert!(saturated[1].outcome.reason().unwrap().starts_with("out of range: 3.2 ampere"));
        assert_eq!((saturated[0].outcome.value(), saturated[2].outcome.value()), (Some(5.1), None));
    }

    #[test]
    fn another_driver_reads_the_same_values_from_the_simulated_chip() {
        let bus = bus(Weather { voltage: 11.9, current: 0.7, ..Weather::default() });

        let ours = sense(&bus);
        let address = ina219::address::Address::from_byte(FIRST_ADDRESS).unwrap();
        let mut other = ina219::SyncIna219::new(bus.clone(), address).unwrap();
        bus.advance(std::time::Duration::from_millis(2));
        let millivolts = other.bus_voltage().unwrap().voltage_mv();
        let shunt_microvolts = other.shunt_voltage().unwrap().shunt_voltage_uv();

        assert_eq!(ours[0].outcome.value(), Some(f64::from(millivolts) / 1000.0));
        let amperes = f64::from(shunt_microvolts) / 1e6 / 0.1;
        assert!((ours[1].outcome.value().unwrap() - amperes).abs() < 1e-6);
    }
}
