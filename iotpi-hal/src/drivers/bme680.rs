//! Bosch BME680 and BME688: temperature, humidity, pressure, and the resistance of a heated gas sensor.
//!
//! # Wiring
//! VCC to 3.3 V, GND to ground, SDA to BCM 2, SCL to BCM 3. Address `0x76` with SDO at ground, `0x77` with SDO at the
//! supply. Boot configuration: `dtparam=i2c_arm=on`.
//!
//! # Datasheet
//! BST-BME680-DS001, sections 3.2 (forced mode), 3.3 (compensation, heater), 5.2 (registers); BST-BME688-DS000 for the
//! gas resistance of a BME688. -40 to 85 °C ±1 °C, 0 to 100 % ±3 %, 300 to 1,100 hPa ±0.6 hPa. Power-up time 2 ms. The
//! plate of the gas sensor is heated to 320 °C for 150 ms in each measurement.
//!
//! # The gas resistance
//! It falls when there are more volatile organic compounds in the air, by a factor of two and more, and also depends
//! on humidity and on the age of the sensor. A new sensor needs two days. It is reported in ohms.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no device answers` | wiring, or the other address: `i2cdetect -y 1` |
//! | `not found: found ...` | a BME280 or BMP280: another driver |
//! | `timeout` | the supply is too weak for the heater (12 mA) |
//! | `out of range: the heater is not stable` | the first measurement after the start; a weak supply |
//!
//! # Deliberately absent
//! An index of air quality: Bosch computes it in a library (BSEC) whose source is closed.

use embedded_hal::{delay::DelayNs, i2c::I2c};
use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample};

use crate::drivers::{BlockingSensor, I2cRegisters, in_range};

mod compensation;

pub(crate) use compensation::Calibration;

/// The I2C address with SDO connected to ground.
pub const PRIMARY_ADDRESS: u8 = 0x76;
/// The I2C address with SDO connected to the supply.
pub const SECONDARY_ADDRESS: u8 = 0x77;

/// The registers the driver uses (section 5.2).
pub(crate) mod register {
    pub const HEATER_VALUE: u8 = 0x00;
    pub const STATUS: u8 = 0x1D;
    pub const DATA: u8 = 0x1F;
    pub const HEATER_RESISTANCE: u8 = 0x5A;
    pub const HEATER_TIME: u8 = 0x64;
    pub const CTRL_GAS_1: u8 = 0x71;
    pub const CTRL_HUM: u8 = 0x72;
    pub const CTRL_MEAS: u8 = 0x74;
    pub const CALIBRATION_1: u8 = 0x8A;
    pub const CALIBRATION_2: u8 = 0xE1;
    pub const ID: u8 = 0xD0;
    pub const RESET: u8 = 0xE0;
    pub const VARIANT: u8 = 0xF0;

    pub const CHIP_ID: u8 = 0x61;
    pub const BME688: u8 = 0x01;
    pub const SOFT_RESET: u8 = 0xB6;
    pub const NEW_DATA: u8 = 1 << 7;
    pub const RUN_GAS_BME680: u8 = 1 << 4;
    pub const RUN_GAS_BME688: u8 = 1 << 5;
    pub const GAS_VALID: u8 = 1 << 5;
    pub const HEATER_STABLE: u8 = 1 << 4;
}

/// Oversampling x1 for humidity; x1 for temperature and pressure in forced mode.
const CTRL_HUM_X1: u8 = 0b001;
const CTRL_MEAS_FORCED_X1: u8 = 1 << 5 | 1 << 2 | 0b01;
const HEATER_CELSIUS: f64 = 320.0;
/// 150 ms as 37 times 4 ms (section 5.3.3.3): the factor is in the two highest bits.
const HEATER_TIME_148_MS: u8 = 0b01 << 6 | 37;
/// The heater, and 10 ms for the other measurements.
const MEASUREMENT_MILLIS: u32 = 160;
const STATUS_TRIES: u32 = 10;
const STATUS_PAUSE_MILLIS: u32 = 10;

/// The driver. It sleeps between measurements and starts each one itself (forced mode).
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::{BlockingSensor, bme680::{Bme680, PRIMARY_ADDRESS}}, sim::{self, SimI2c, Weather, World}};
///
/// let world = World::still(Weather { temperature: 19.5, ..Weather::default() });
/// let bus = SimI2c::new().with_chip(PRIMARY_ADDRESS, sim::bme680(world));
/// let mut sensor = Bme680::new(bus.clone(), bus.delay(), PRIMARY_ADDRESS);
/// assert!((sensor.sense()?[0].outcome.value().unwrap() - 19.5).abs() < 0.02);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Bme680<I, D> {
    registers: I2cRegisters<I>,
    delay: D,
    /// `None` until the chip was identified, and again after every failure.
    chip: Option<(Calibration, Variant)>,
    /// The last temperature, for the heater.
    ambient: f64,
}

/// The three blocks of registers with the calibration.
type CalibrationRegisters = ([u8; 23], [u8; 14], [u8; 5]);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Variant {
    Bme680,
    Bme688,
}

impl<I: I2c, D: DelayNs> Bme680<I, D> {
    /// A driver on a bus. It does not access the chip before the first measurement.
    pub fn new(i2c: I, delay: D, address: u8) -> Self {
        Self { registers: I2cRegisters::new(i2c, address), delay, chip: None, ambient: 25.0 }
    }

    fn byte(&mut self, register: u8) -> Result<u8, DeviceError> {
        Ok(self.registers.read::<1>(register)?[0])
    }

    fn find(&mut self) -> Result<(Calibration, Variant), DeviceError> {
        let found = match self.byte(register::ID)? {
            register::CHIP_ID => None,
            0x60 => Some("a BME280: use driver `bme280`"),
            0x56..=0x58 => Some("a BMP280: use driver `bmp280`"),
            0x00 | 0xFF => Some("no chip id: look at SDA and SCL"),
            _ => Some("a chip that is no BME680"),
        };
        if let Some(found) = found {
            let text = format!("found {found} (at {:#04x})", self.registers.address());
            return Err(DeviceError::new(DeviceErrorKind::NotFound, text));
        }
        self.registers.write(register::RESET, [register::SOFT_RESET])?;
        self.delay.delay_ms(10);
        let variant = match self.byte(register::VARIANT)? {
            register::BME688 => Variant::Bme688,
            _ => Variant::Bme680,
        };
        // The chip has no checksum: two reads must agree.
        let first = self.calibration()?;
        if self.calibration()? != first {
            let text = "two reads of the calibration of the chip differ";
            return Err(DeviceError::new(DeviceErrorKind::Checksum, text));
        }
        let (one, two, heater) = first;
        Ok((Calibration::from_registers(&one, &two, &heater), variant))
    }

    fn calibration(&mut self) -> Result<CalibrationRegisters, DeviceError> {
        Ok((
            self.registers.read(register::CALIBRATION_1)?,
            self.registers.read(register::CALIBRATION_2)?,
            self.registers.read(register::HEATER_VALUE)?,
        ))
    }

    fn start(&mut self, calibration: &Calibration, variant: Variant) -> Result<(), DeviceError> {
        let resistance = calibration.heater_resistance(HEATER_CELSIUS, self.ambient);
        self.registers.write(register::HEATER_RESISTANCE, [resistance])?;
        self.registers.write(register::HEATER_TIME, [HEATER_TIME_148_MS])?;
        let run_gas = match variant {
            Variant::Bme680 => register::RUN_GAS_BME680,
            Variant::Bme688 => register::RUN_GAS_BME688,
        };
        self.registers.write(register::CTRL_GAS_1, [run_gas])?;
        self.registers.write(register::CTRL_HUM, [CTRL_HUM_X1])?;
        self.registers.write(register::CTRL_MEAS, [CTRL_MEAS_FORCED_X1])
    }

    fn measure(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let (calibration, variant) = match self.chip.take() {
            Some(chip) => chip,
            None => self.find()?,
        };
        self.start(&calibration, variant)?;
        self.delay.delay_ms(MEASUREMENT_MILLIS);
        self.wait_for_data()?;
        let data: [u8; 15] = self.registers.read(register::DATA)?;
        let samples = self.convert(&data, &calibration, variant)?;
        self.chip = Some((calibration, variant));
        Ok(samples)
    }

    fn wait_for_data(&mut self) -> Result<(), DeviceError> {
        for _ in 0..STATUS_TRIES {
            let status = self.byte(register::STATUS)?;
            // All bits of a data line that floats are set; the lowest ones are the number of a heater profile.
            if status & register::NEW_DATA != 0 && status != 0xFF {
                return Ok(());
            }
            self.delay.delay_ms(STATUS_PAUSE_MILLIS);
        }
        Err(DeviceError::new(DeviceErrorKind::Timeout, "the chip does not finish measuring"))
    }

    /// `data` is pressure, temperature, humidity and, at different places of both chips, gas.
    fn convert(
        &mut self,
        data: &[u8; 15],
        calibration: &Calibration,
        variant: Variant,
    ) -> Result<Vec<Sample>, DeviceError> {
        let bits20 = |at: usize| {
            u32::from(data[at]) << 12 | u32::from(data[at + 1]) << 4 | u32::from(data[at + 2]) >> 4
        };
        let humidity = u32::from(data[6]) << 8 | u32::from(data[7]);
        let t_fine = calibration.t_fine(bits20(3));
        let celsius = t_fine / 5120.0;
        if !(-40.0..=85.0).contains(&celsius) {
            let text = format!("temperature {celsius:.1} °C is outside -40 to 85");
            return Err(DeviceError::new(DeviceErrorKind::OutOfRange, text));
        }
        self.ambient = celsius;
        let pressure = calibration.pressure(t_fine, bits20(0));
        let humidity = calibration.humidity(t_fine, humidity);
        Ok(vec![
            Sample::new(Quantity::Temperature, celsius),
            in_range(Quantity::Humidity, humidity, 0.0..=100.0),
            in_range(Quantity::Pressure, pressure, 30_000.0..=110_000.0),
            gas_sample(data, calibration, variant),
        ])
    }
}

/// The gas resistance, unless the heater had not its temperature.
fn gas_sample(data: &[u8; 15], calibration: &Calibration, variant: Variant) -> Sample {
    let [high, low] = match variant {
        Variant::Bme680 => [data[11], data[12]],
        Variant::Bme688 => [data[13], data[14]],
    };
    let is_valid = low & register::GAS_VALID != 0 && low & register::HEATER_STABLE != 0;
    if !is_valid {
        let text = "the heater is not stable: the supply, or the first measurement";
        return Sample::no_data(gas_resistance(), DeviceError::new(DeviceErrorKind::OutOfRange, text));
    }
    let raw = u16::from(high) << 2 | u16::from(low) >> 6;
    let ohms = match variant {
        Variant::Bme680 => calibration.gas_bme680(raw, low & 0x0F),
        Variant::Bme688 => compensation::gas_bme688(raw, low & 0x0F),
    };
    in_range(gas_resistance(), ohms, 1.0..=2e7)
}

/// The quantity of the gas sensor, in ohms.
///
/// # Panics
/// Never: the name is an id and the unit is known.
#[allow(clippy::expect_used, clippy::missing_panics_doc)]
fn gas_resistance() -> Quantity {
    let name = "gas-resistance".parse().expect("an id");
    Quantity::new(name, "ohm".parse().expect("a unit"))
}

impl<I: I2c + Send + 'static, D: DelayNs + Send + 'static> BlockingSensor for Bme680<I, D> {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Temperature, Quantity::Humidity, Quantity::Pressure, gas_resistance()]
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        self.measure()
    }
}
