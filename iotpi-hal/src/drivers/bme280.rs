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
//! | `not found: no device answers at 0x76` | no power, SDA and SCL swapped, the other address; `i2cdetect -y 1` lists the connected chips |
//! | `not found: found a BMP280` | a BMP280 is often sold as a BME280: use driver `bmp280` |
//! | `bus` | a loose wire, or wires too long: keep them under a metre at 100 kHz |
//! | `timeout` | the chip hangs: the next read resets it; if the error persists, check the supply |
//! | `out of range` | one quantity: the value is outside the operating range; all: wrong supply voltage, a damaged chip, or wiring that reads as all ones |
//!
//! # Deliberately absent
//! SPI; the chip's filter and continuous mode (a module measures every few seconds: weather monitoring,
//! datasheet section 3.5.1); clamping to the operating range, because a value at the limit would look like a
//! measurement.
//!
//! Source: Bosch BST-BME280-DS001 and BST-BMP280-DS001.

use embedded_hal::{delay::DelayNs, i2c::I2c};
use iotpi_core::{DeviceError, DeviceErrorKind, Outcome, Quantity, Sample};

use crate::drivers::{BlockingSensor, I2cRegisters, in_range};

mod compensation;

pub(crate) use compensation::Calibration;

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
#[non_exhaustive]
pub enum Chip {
    /// Temperature, humidity, pressure; chip id `0x60`.
    Bme280,
    /// Temperature, pressure; chip id `0x58`.
    Bmp280,
}

/// The values of one measurement. A value outside the operating range is
/// [`NoData`](iotpi_core::Outcome::NoData).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Measurement {
    /// Degrees Celsius, -40 to 85.
    pub temperature: Outcome,
    /// Pascal, 30,000 to 110,000.
    pub pressure: Outcome,
    /// Relative humidity in per cent, 0 to 100; `None` for a BMP280.
    pub humidity: Option<Outcome>,
}

/// The driver. It sleeps between measurements and starts each one itself (forced mode).
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::bme280::{Bme280, Chip, PRIMARY_ADDRESS}, sim::{self, SimI2c, Weather, World}};
///
/// let world = World::still(Weather { temperature: 19.5, ..Weather::default() });
/// let bus = SimI2c::new().with_chip(PRIMARY_ADDRESS, sim::bme280(Chip::Bme280, world));
/// let mut sensor = Bme280::new(bus.clone(), bus.delay(), PRIMARY_ADDRESS, Chip::Bme280);
/// assert!((sensor.measure()?.temperature.value().unwrap() - 19.5).abs() < 0.01);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Bme280<I, D> {
    registers: I2cRegisters<I>,
    delay: D,
    chip: Chip,
    /// `None` until the chip was identified, and again after every failure: the next measurement then starts
    /// with a reset.
    calibration: Option<Calibration>,
}

impl<I, D> Bme280<I, D>
where
    I: I2c,
    D: DelayNs,
{
    /// A driver on a bus. It does not access the chip before the first measurement.
    pub fn new(i2c: I, delay: D, address: u8, chip: Chip) -> Self {
        Self { registers: I2cRegisters::new(i2c, address), delay, chip, calibration: None }
    }

    /// Returns the bus.
    pub fn release(self) -> I {
        self.registers.release()
    }

    /// Measures once. Takes about 10 ms, and 10 ms more when the chip must be identified first.
    ///
    /// # Errors
    /// - [`DeviceErrorKind::NotFound`]: no chip answers at the address, or a different chip.
    /// - [`DeviceErrorKind::Bus`]: the bus transfer failed.
    /// - [`DeviceErrorKind::Checksum`]: the calibration was corrupted on the bus.
    /// - [`DeviceErrorKind::Timeout`]: the chip does not finish the measurement.
    /// - [`DeviceErrorKind::OutOfRange`]: a temperature outside the operating range, without which the other
    ///   values cannot be computed, or implausible calibration data.
    pub fn measure(&mut self) -> Result<Measurement, DeviceError> {
        let calibration = match self.calibration.take() {
            Some(calibration) => calibration,
            None => self.find()?,
        };
        let measured = self.measure_with(&calibration)?;
        self.calibration = Some(calibration);
        Ok(measured)
    }

    fn find(&mut self) -> Result<Calibration, DeviceError> {
        let [id] = self.registers.read(register::ID)?;
        self.check_id(id)?;
        self.registers.write(register::RESET, [register::SOFT_RESET])?;
        // Start-up takes 2 ms (table 1). Then the chip copies the calibration out of its memory.
        self.delay.delay_ms(2);
        self.wait_while(register::COPYING_CALIBRATION)?;
        // The chip has no checksum, and a calibration that was corrupted on the bus would falsify all values
        // until the next reset.
        let (first, second) = self.calibration_registers()?;
        if self.calibration_registers()? != (first, second) {
            return Err(DeviceError::new(
                DeviceErrorKind::Checksum,
                format!("two reads of the calibration of the chip at {:#04x} differ", self.address()),
            ));
        }
        Calibration::from_registers(&first, &second).ok_or_else(|| {
            DeviceError::new(
                DeviceErrorKind::OutOfRange,
                format!(
                    "the calibration memory of the chip at {:#04x} is empty: supply or wiring",
                    self.address()
                ),
            )
        })
    }

    fn calibration_registers(&mut self) -> Result<([u8; 26], [u8; 7]), DeviceError> {
        let first = self.registers.read(register::CALIBRATION_1)?;
        let second = match self.chip {
            Chip::Bme280 => self.registers.read(register::CALIBRATION_2)?,
            Chip::Bmp280 => [0; 7],
        };
        Ok((first, second))
    }

    fn address(&self) -> u8 {
        self.registers.address()
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
            format!("found {found} (chip id {id:#04x} at {:#04x})", self.address()),
        ))
    }

    fn measure_with(&mut self, calibration: &Calibration) -> Result<Measurement, DeviceError> {
        if self.chip == Chip::Bme280 {
            // Takes effect with the next write to ctrl_meas (section 5.4.3).
            self.registers.write(register::CTRL_HUM, [CTRL_HUM_X1])?;
        }
        self.registers.write(register::CTRL_MEAS, [CTRL_MEAS_FORCED_X1])?;
        self.delay.delay_us(MEASUREMENT_MICROS);
        self.wait_while(register::MEASURING)?;
        // One burst read: the chip shadows the registers, so the values belong to one measurement (section
        // 4.1).
        let data: [u8; 8] = match self.chip {
            Chip::Bme280 => self.registers.read(register::DATA)?,
            Chip::Bmp280 => {
                let [p1, p2, p3, t1, t2, t3] = self.registers.read(register::DATA)?;
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
        let celsius = Calibration::temperature(t_fine);
        if !(-40.0..=85.0).contains(&celsius) {
            return Err(DeviceError::new(
                DeviceErrorKind::OutOfRange,
                format!("temperature {celsius:.1} °C is outside -40 to 85"),
            ));
        }
        let pressure = calibration.pressure(t_fine, pressure);
        let humidity = (self.chip == Chip::Bme280).then(|| calibration.humidity(t_fine, humidity));
        Ok(Measurement {
            temperature: Outcome::of(celsius),
            pressure: in_range(Quantity::Pressure, pressure, 30_000.0..=110_000.0).outcome,
            humidity: humidity.map(|value| in_range(Quantity::Humidity, value, 0.0..=100.0).outcome),
        })
    }

    fn wait_while(&mut self, flag: u8) -> Result<(), DeviceError> {
        for _ in 0..STATUS_TRIES {
            let [status] = self.registers.read(register::STATUS)?;
            if status & flag == 0 {
                return Ok(());
            }
            self.delay.delay_us(STATUS_PAUSE_MICROS);
        }
        Err(DeviceError::new(
            DeviceErrorKind::Timeout,
            format!("the chip at {:#04x} does not finish measuring", self.address()),
        ))
    }
}

impl<I, D> BlockingSensor for Bme280<I, D>
where
    I: I2c + Send + 'static,
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
        let mut samples = vec![Sample::of(Quantity::Temperature, temperature)];
        samples.extend(humidity.map(|outcome| Sample::of(Quantity::Humidity, outcome)));
        samples.push(Sample::of(Quantity::Pressure, pressure));
        Ok(samples)
    }
}
