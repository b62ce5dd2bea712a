//! Texas Instruments ADS1115 (and ADS1015): a converter with four analogue inputs, for probes with a voltage.
//!
//! # Wiring
//! VDD to 3.3 V, GND to ground, SDA to BCM 2, SCL to BCM 3. Address by ADDR: `0x48` to ground, `0x49` to VDD, `0x4A`
//! to SDA, `0x4B` to SCL. An input must stay between ground and VDD: a probe with 5 V needs a divider.
//!
//! # Datasheet
//! SBAS444E: sections 8.1.3 (configuration register), 7.4.2.1 (single-shot mode), 8.1.2 (conversion register). The
//! reference is in the chip; ±0.15 % at most. A conversion takes 8.6 ms at 128 samples per second. An ADS1015 has
//! the same registers, and 12 bits.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no device answers` | wiring, or another address: `i2cdetect -y 1` |
//! | `not found: ... is no ADS1115` | another chip has this address, for example a thermometer |
//! | `out of range` | the voltage is above `range`, which may be larger, up to 4.096 V |
//! | drifts, or follows a neighbour | the input is not connected |

use embedded_hal::{delay::DelayNs, i2c::I2c};
use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample, model::reading::SeriesSpec};
use serde::Deserialize;

use crate::drivers::{BlockingSensor, I2cRegisters};

/// The lowest I2C address: ADDR connected to ground.
pub const FIRST_ADDRESS: u8 = 0x48;
/// The highest I2C address: ADDR connected to SCL.
pub const LAST_ADDRESS: u8 = 0x4B;

/// The registers (section 8.1).
pub(crate) mod register {
    pub const CONVERSION: u8 = 0x00;
    pub const CONFIGURATION: u8 = 0x01;

    /// Written: start. Read: not converting.
    pub const START: u16 = 1 << 15;
    pub const SINGLE_SHOT: u16 = 1 << 8;
    pub const RATE_128: u16 = 0b100 << 5;
    pub const NO_COMPARATOR: u16 = 0b11;
}

/// 128 samples per second, and 10 % slower at worst (section 6.5).
const CONVERSION_MICROS: u32 = 8_600;
const READY_TRIES: u32 = 5;

/// An input: against ground, or a difference of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum Input {
    /// AIN0 against ground.
    #[serde(rename = "a0")]
    A0,
    /// AIN1 against ground.
    #[serde(rename = "a1")]
    A1,
    /// AIN2 against ground.
    #[serde(rename = "a2")]
    A2,
    /// AIN3 against ground.
    #[serde(rename = "a3")]
    A3,
    /// AIN0 minus AIN1.
    #[serde(rename = "a0-a1")]
    A0MinusA1,
    /// AIN2 minus AIN3.
    #[serde(rename = "a2-a3")]
    A2MinusA3,
}

impl Input {
    fn bits(self) -> u16 {
        let multiplexer = match self {
            Self::A0MinusA1 => 0b000,
            Self::A2MinusA3 => 0b011,
            Self::A0 => 0b100,
            Self::A1 => 0b101,
            Self::A2 => 0b110,
            Self::A3 => 0b111,
        };
        multiplexer << 12
    }
}

/// The full scale of the converter, in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FullScale {
    /// ±4.096 V.
    #[default]
    V4_096,
    /// ±2.048 V.
    V2_048,
    /// ±1.024 V.
    V1_024,
    /// ±0.512 V.
    V0_512,
    /// ±0.256 V.
    V0_256,
}

impl FullScale {
    /// All of them, from the largest.
    pub const ALL: [Self; 5] = [Self::V4_096, Self::V2_048, Self::V1_024, Self::V0_512, Self::V0_256];

    /// The full scale in volts.
    #[must_use]
    pub fn volts(self) -> f64 {
        match self {
            Self::V4_096 => 4.096,
            Self::V2_048 => 2.048,
            Self::V1_024 => 1.024,
            Self::V0_512 => 0.512,
            Self::V0_256 => 0.256,
        }
    }

    fn bits(self) -> u16 {
        let gain = match self {
            Self::V4_096 => 0b001,
            Self::V2_048 => 0b010,
            Self::V1_024 => 0b011,
            Self::V0_512 => 0b100,
            Self::V0_256 => 0b101,
        };
        gain << 9
    }
}

/// One input, and the quantity that its voltage stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurand {
    input: Input,
    full_scale: FullScale,
    series: SeriesSpec,
    scale: f64,
    offset: f64,
}

impl Measurand {
    /// The voltage of an input, up to 4.096 V. Several inputs of one quantity need channels.
    #[must_use]
    pub fn new(input: Input, series: impl Into<SeriesSpec>) -> Self {
        Self { input, full_scale: FullScale::default(), series: series.into(), scale: 1.0, offset: 0.0 }
    }

    /// Sets the full scale: a smaller one has smaller steps.
    #[must_use]
    pub fn with_full_scale(mut self, full_scale: FullScale) -> Self {
        self.full_scale = full_scale;
        self
    }

    /// Sets the conversion: value = volts * scale + offset.
    #[must_use]
    pub fn scaled(mut self, scale: f64, offset: f64) -> Self {
        (self.scale, self.offset) = (scale, offset);
        self
    }

    fn configuration(&self) -> u16 {
        self.input.bits()
            | self.full_scale.bits()
            | register::SINGLE_SHOT
            | register::RATE_128
            | register::NO_COMPARATOR
    }

    /// A value at either end of the scale means the same or more.
    fn sample(&self, raw: i16) -> Sample {
        let volts = f64::from(raw) * self.full_scale.volts() / 32_768.0;
        if raw == i16::MAX || raw == i16::MIN {
            let text = format!("the input is beyond ±{} V", self.full_scale.volts());
            return Sample::no_data(self.series.clone(), DeviceError::new(DeviceErrorKind::OutOfRange, text));
        }
        Sample::new(self.series.clone(), volts * self.scale + self.offset)
    }
}

/// The driver. The chip sleeps between measurements.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_core::Quantity;
/// use iotpi_hal::{
///     drivers::{BlockingSensor, ads1115::{Ads1115, FIRST_ADDRESS, Input, Measurand}},
///     sim::{self, SimI2c, Weather, World},
/// };
///
/// let bus = SimI2c::new().with_chip(FIRST_ADDRESS, sim::ads1115([0.5, 1.5, 2.5, 3.0]));
/// // A pressure sensor: 0.5 V at 0 Pa, 4.5 V at 1 MPa, behind a divider by 2.
/// let pressure = Measurand::new(Input::A1, Quantity::Pressure).scaled(500_000.0, -125_000.0);
/// let mut sensor = Ads1115::new(bus.clone(), bus.delay(), FIRST_ADDRESS, vec![pressure]);
/// assert_eq!(sensor.sense()?[0].outcome.value(), Some(625_000.0));
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Ads1115<I, D> {
    chip: I2cRegisters<I>,
    delay: D,
    measurands: Vec<Measurand>,
}

impl<I: I2c, D: DelayNs> Ads1115<I, D> {
    /// A driver on a bus. It does not access the chip before the first measurement.
    pub fn new(i2c: I, delay: D, address: u8, measurands: Vec<Measurand>) -> Self {
        Self { chip: I2cRegisters::new(i2c, address), delay, measurands }
    }

    fn convert(&mut self, configuration: u16) -> Result<i16, DeviceError> {
        self.chip.write(register::CONFIGURATION, (configuration | register::START).to_be_bytes())?;
        for _ in 0..READY_TRIES {
            self.delay.delay_us(CONVERSION_MICROS);
            let read = u16::from_be_bytes(self.chip.read(register::CONFIGURATION)?);
            // The chip has no id. It keeps what was written.
            if read & !register::START != configuration {
                let text = format!("the chip at {:#04x} is no ADS1115", self.chip.address());
                return Err(DeviceError::new(DeviceErrorKind::NotFound, text));
            }
            if read & register::START != 0 {
                return Ok(i16::from_be_bytes(self.chip.read(register::CONVERSION)?));
            }
        }
        Err(DeviceError::new(DeviceErrorKind::Timeout, "the chip does not finish converting"))
    }
}

impl<I: I2c + Send + 'static, D: DelayNs + Send + 'static> BlockingSensor for Ads1115<I, D> {
    fn quantities(&self) -> Vec<Quantity> {
        self.measurands.iter().map(|one| one.series.quantity.clone()).collect()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.measurands.iter().map(|one| one.series.clone()).collect()
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let configurations: Vec<_> = self.measurands.iter().map(Measurand::configuration).collect();
        let raw = configurations.into_iter().map(|one| self.convert(one)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.measurands.iter().zip(raw).map(|(one, raw)| one.sample(raw)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_that_of_the_datasheet() {
        // The value after power-on has other inputs and another full scale: 0x8583 without the start bit.
        let default = Measurand::new(Input::A0MinusA1, Quantity::Voltage).with_full_scale(FullScale::V2_048);

        assert_eq!(default.configuration(), 0x0583);
    }

    #[cfg(feature = "sim")]
    mod on_a_simulated_chip {
        use iotpi_core::Channel;

        use super::*;
        use crate::sim::{self, SimI2c};

        fn channel(name: &str) -> SeriesSpec {
            SeriesSpec::new(Quantity::Voltage).with_channel(Channel::new(name).unwrap())
        }

        #[test]
        fn each_input_is_a_series_with_its_own_full_scale() {
            let bus = SimI2c::new().with_chip(FIRST_ADDRESS, sim::ads1115([0.1, 1.5, 2.5, 3.0]));
            let measurands = vec![
                Measurand::new(Input::A0, channel("a")).with_full_scale(FullScale::V0_256),
                Measurand::new(Input::A3, channel("b")),
                Measurand::new(Input::A2MinusA3, channel("c")),
                Measurand::new(Input::A2, channel("d")).with_full_scale(FullScale::V1_024),
            ];

            let mut sensor = Ads1115::new(bus.clone(), bus.delay(), FIRST_ADDRESS, measurands);
            let samples = sensor.sense().unwrap();

            let values: Vec<_> = samples.iter().map(|sample| sample.outcome.value()).collect();
            assert_eq!(values[1..], [Some(3.0), Some(-0.5), None]);
            assert!((values[0].unwrap() - 0.1).abs() < 8e-6);
            assert_eq!(samples[3].outcome.reason(), Some("out of range: the input is beyond ±1.024 V"));
            assert_eq!(sensor.series()[3], channel("d"));
        }
    }
}
