//! Bosch BME280 (temperature, humidity, pressure) and BMP280 (the same without humidity), over I2C.
//!
//! # Wiring
//! | sensor | Raspberry Pi |
//! |---|---|
//! | VIN / VCC | 3.3 V, pin 1 (most boards tolerate 5 V on VIN; the bare chip does not) |
//! | GND | ground, pin 9 |
//! | SCL / SCK | BCM 3, pin 5 |
//! | SDA / SDI | BCM 2, pin 3 |
//! | SDO | ground: address `0x76`; 3.3 V: `0x77` |
//! | CSB | 3.3 V, or unconnected where the board pulls it up |
//!
//! # Boot configuration
//! `sudo raspi-config nonint do_i2c 0`, then log out and in once if the user was not in group `i2c`.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: nothing answers at 0x76` | no power, SDA and SCL swapped, the other address; `i2cdetect -y 1` lists the connected chips |
//! | `not found: found a BMP280` | a BMP280 is often sold as a BME280: use driver `bmp280` |
//! | `bus` | a loose wire, or wires too long: keep them under a metre at 100 kHz |
//! | `timeout` | the chip hangs: the next read resets it; if the error persists, check the supply |
//! | `out of range` | implausible values: wrong supply voltage, a damaged chip, or wiring that reads as all ones |
//!
//! # Deliberately absent
//! SPI; the chip's filter and continuous mode (a module measures every few seconds: weather monitoring,
//! datasheet section 3.5.1); clamping to the operating range, because a value at the limit would look like a
//! measurement.
//!
//! Source: Bosch BST-BME280-DS001 and BST-BMP280-DS001.

use std::fmt::Debug;

use embedded_hal::{
    delay::DelayNs,
    i2c::{Error as _, ErrorKind, I2c, NoAcknowledgeSource},
};
use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample};

use crate::drivers::BlockingSensor;

mod compensation;

pub use compensation::Calibration;

/// The I2C address with SDO connected to ground.
pub const PRIMARY_ADDRESS: u8 = 0x76;
/// The I2C address with SDO connected to the supply.
pub const SECONDARY_ADDRESS: u8 = 0x77;

/// The registers the driver uses (datasheet section 5.3).
pub(crate) mod register {
    pub const CALIBRATION_1: u8 = 0x88;
    pub const CALIBRATION_2: u8 = 0xE1;
    pub const ID: u8 = 0xD0;
    pub const RESET: u8 = 0xE0;
    pub const CTRL_HUM: u8 = 0xF2;
    pub const STATUS: u8 = 0xF3;
    pub const CTRL_MEAS: u8 = 0xF4;
    pub const DATA: u8 = 0xF7;

    pub const SOFT_RESET: u8 = 0xB6;
    pub const MEASURING: u8 = 1 << 3;
    pub const COPYING_CALIBRATION: u8 = 1;
}

/// Oversampling x1 for humidity. The next constant: x1 for temperature and pressure, forced mode.
const CTRL_HUM_X1: u8 = 0b001;
const CTRL_MEAS_FORCED_X1: u8 = 1 << 5 | 1 << 2 | 0b01;
/// The maximum duration of such a measurement: 1.25 + 2.3 + (2.3 + 0.575) + (2.3 + 0.575) ms (section 9.1),
/// rounded up.
const MEASUREMENT_MICROS: u32 = 9_400;
/// The number of status reads before the chip counts as hung, and the time between two of them.
const STATUS_TRIES: u32 = 5;
const STATUS_PAUSE_MICROS: u32 = 2_000;

/// The register value of a skipped measurement (section 4.2.3). It is also a possible value (about 26.5 °C),
/// so a measurement counts as skipped only when both temperature and pressure have it.
const SKIPPED: u32 = 0x8_0000;

/// The expected chip. The driver must know its quantities before the first measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chip {
    /// Temperature, humidity, pressure; chip id `0x60`.
    Bme280,
    /// Temperature, pressure; chip id `0x58`.
    Bmp280,
}

/// The physical values of one measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurement {
    /// Degrees Celsius, -40 to 85.
    pub temperature: f64,
    /// Pascal, 30,000 to 110,000.
    pub pressure: f64,
    /// Relative humidity in per cent, 0 to 100; `None` for a BMP280.
    pub humidity: Option<f64>,
}

/// The driver. It sleeps between measurements and starts each one itself (forced mode).
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::bme280::{Bme280, Chip, PRIMARY_ADDRESS}, sim::{SimBme280, Weather, World}};
///
/// let (i2c, delay) = SimBme280::new(Chip::Bme280, PRIMARY_ADDRESS, World::still(Weather::default())).connect();
/// let mut sensor = Bme280::new(i2c, delay, PRIMARY_ADDRESS, Chip::Bme280);
/// assert!((sensor.measure()?.temperature - Weather::default().temperature).abs() < 0.01);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Bme280<I, D> {
    i2c: I,
    delay: D,
    address: u8,
    chip: Chip,
    /// `None` until the chip was identified, and again after every failure: the next measurement then starts
    /// with a reset.
    calibration: Option<Calibration>,
}

impl<I, D> Bme280<I, D>
where
    I: I2c,
    I::Error: Debug,
    D: DelayNs,
{
    /// A driver on a bus. It does not access the chip before the first measurement.
    pub fn new(i2c: I, delay: D, address: u8, chip: Chip) -> Self {
        Self { i2c, delay, address, chip, calibration: None }
    }

    /// Returns the bus.
    pub fn release(self) -> I {
        self.i2c
    }

    /// Measures once. Takes about 10 ms, and 5 ms more when the chip must be identified first.
    ///
    /// # Errors
    /// - [`DeviceErrorKind::NotFound`]: no chip answers at the address, or a different chip.
    /// - [`DeviceErrorKind::Bus`]: the bus transfer failed.
    /// - [`DeviceErrorKind::Timeout`]: the chip does not finish the measurement.
    /// - [`DeviceErrorKind::OutOfRange`]: a value outside the operating range, or implausible calibration
    ///   data.
    pub fn measure(&mut self) -> Result<Measurement, DeviceError> {
        let calibration = match self.calibration {
            Some(calibration) => calibration,
            None => self.find()?,
        };
        self.calibration = Some(calibration);
        let measured = self.measure_with(&calibration);
        if measured.is_err() {
            self.calibration = None;
        }
        measured
    }

    fn find(&mut self) -> Result<Calibration, DeviceError> {
        let [id] = self.registers(register::ID)?;
        self.check_id(id)?;
        self.write(register::RESET, register::SOFT_RESET)?;
        // Start-up takes 2 ms (table 1). Then the chip copies the calibration out of its memory.
        self.delay.delay_ms(2);
        self.wait_while(register::COPYING_CALIBRATION)?;
        let first: [u8; 26] = self.registers(register::CALIBRATION_1)?;
        let second: [u8; 7] = match self.chip {
            Chip::Bme280 => self.registers(register::CALIBRATION_2)?,
            Chip::Bmp280 => [0; 7],
        };
        Calibration::from_registers(&first, &second).ok_or_else(|| {
            DeviceError::new(
                DeviceErrorKind::OutOfRange,
                format!(
                    "the calibration memory of the chip at {:#04x} is empty: supply or wiring",
                    self.address
                ),
            )
        })
    }

    fn check_id(&self, id: u8) -> Result<(), DeviceError> {
        let found = match (self.chip, id) {
            // 0x56 and 0x57 are the ids of BMP280 samples.
            (Chip::Bme280, 0x60) | (Chip::Bmp280, 0x56..=0x58) => return Ok(()),
            (_, 0x60) => "a BME280: use driver `bme280`",
            (_, 0x56..=0x58) => "a BMP280, which measures no humidity: use driver `bmp280`",
            (_, 0x55) => "a BMP180, which this driver does not know",
            (_, 0x61) => "a BME680, which this driver does not know",
            (_, 0x00 | 0xFF) => "no chip id: look at SDA and SCL",
            _ => "a chip that is neither BME280 nor BMP280",
        };
        Err(DeviceError::new(
            DeviceErrorKind::NotFound,
            format!("found {found} (chip id {id:#04x} at {:#04x})", self.address),
        ))
    }

    fn measure_with(&mut self, calibration: &Calibration) -> Result<Measurement, DeviceError> {
        if self.chip == Chip::Bme280 {
            // Takes effect with the next write to ctrl_meas (section 5.4.3).
            self.write(register::CTRL_HUM, CTRL_HUM_X1)?;
        }
        self.write(register::CTRL_MEAS, CTRL_MEAS_FORCED_X1)?;
        self.delay.delay_us(MEASUREMENT_MICROS);
        self.wait_while(register::MEASURING)?;
        // One burst read: the chip shadows the registers, so the values belong to one measurement (section
        // 4.1).
        let data: [u8; 8] = match self.chip {
            Chip::Bme280 => self.registers(register::DATA)?,
            Chip::Bmp280 => {
                let [p1, p2, p3, t1, t2, t3] = self.registers(register::DATA)?;
                [p1, p2, p3, t1, t2, t3, 0, 0]
            }
        };
        self.convert(&data, calibration)
    }

    fn convert(&self, data: &[u8; 8], calibration: &Calibration) -> Result<Measurement, DeviceError> {
        let bits20 = |at: usize| {
            u32::from(data[at]) << 12 | u32::from(data[at + 1]) << 4 | u32::from(data[at + 2]) >> 4
        };
        let (pressure, temperature) = (bits20(0), bits20(3));
        let humidity = u32::from(data[6]) << 8 | u32::from(data[7]);
        if temperature == SKIPPED && pressure == SKIPPED {
            return Err(DeviceError::new(
                DeviceErrorKind::OutOfRange,
                "the chip skipped the measurement: it was reset, or its supply dipped",
            ));
        }
        let t_fine = calibration.t_fine(temperature);
        let humidity = match self.chip {
            Chip::Bmp280 => None,
            Chip::Bme280 => {
                Some(within("humidity", "%", calibration.humidity(t_fine, humidity), 0.0, 100.0)?)
            }
        };
        Ok(Measurement {
            temperature: within("temperature", "°C", Calibration::temperature(t_fine), -40.0, 85.0)?,
            pressure: within("pressure", "Pa", calibration.pressure(t_fine, pressure), 30_000.0, 110_000.0)?,
            humidity,
        })
    }

    fn wait_while(&mut self, flag: u8) -> Result<(), DeviceError> {
        for _ in 0..STATUS_TRIES {
            let [status] = self.registers(register::STATUS)?;
            if status & flag == 0 {
                return Ok(());
            }
            self.delay.delay_us(STATUS_PAUSE_MICROS);
        }
        Err(DeviceError::new(
            DeviceErrorKind::Timeout,
            format!("the chip at {:#04x} does not finish measuring", self.address),
        ))
    }

    fn registers<const N: usize>(&mut self, first: u8) -> Result<[u8; N], DeviceError> {
        let mut values = [0; N];
        self.i2c.write_read(self.address, &[first], &mut values).map_err(|e| self.bus_error(&e))?;
        Ok(values)
    }

    fn write(&mut self, register: u8, value: u8) -> Result<(), DeviceError> {
        self.i2c.write(self.address, &[register, value]).map_err(|e| self.bus_error(&e))
    }

    fn bus_error(&self, error: &I::Error) -> DeviceError {
        let address = self.address;
        match error.kind() {
            // Some adapters do not report whether the address or a data byte was not acknowledged. Before the
            // chip has been identified, the error means the address. Later it may be a disturbance, and the
            // next measurement identifies the chip again.
            ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address) => self.nothing_there(error),
            ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown) if self.calibration.is_none() => {
                self.nothing_there(error)
            }
            kind => {
                DeviceError::new(DeviceErrorKind::Bus, format!("I2C at {address:#04x}: {kind} ({error:?})"))
            }
        }
    }

    fn nothing_there(&self, error: &I::Error) -> DeviceError {
        DeviceError::new(
            DeviceErrorKind::NotFound,
            format!(
                "nothing answers at {:#04x}: look at power, wiring and the address ({error:?})",
                self.address
            ),
        )
    }
}

fn within(what: &str, unit: &str, value: f64, least: f64, most: f64) -> Result<f64, DeviceError> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(DeviceError::new(
            DeviceErrorKind::OutOfRange,
            format!("{what} {value:.1} {unit} is outside {least} to {most}"),
        ))
    }
}

impl<I, D> BlockingSensor for Bme280<I, D>
where
    I: I2c + Send + 'static,
    I::Error: Debug,
    D: DelayNs + Send + 'static,
{
    fn quantities(&self) -> Vec<Quantity> {
        match self.chip {
            Chip::Bme280 => vec![Quantity::Temperature, Quantity::Humidity, Quantity::Pressure],
            Chip::Bmp280 => vec![Quantity::Temperature, Quantity::Pressure],
        }
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let Measurement { temperature, pressure, humidity } = self.measure()?;
        let mut samples = vec![Sample::new(Quantity::Temperature, temperature)];
        samples.extend(humidity.map(|value| Sample::new(Quantity::Humidity, value)));
        samples.push(Sample::new(Quantity::Pressure, pressure));
        Ok(samples)
    }
}
