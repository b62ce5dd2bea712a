//! A Texas Instruments INA226 power monitor: the driver, its simulated chip and the tests.
#![cfg(feature = "sim")]

use std::time::Duration;

use iotpi_core::{DeviceError, DeviceErrorKind, Outcome, Quantity, Sample, Sensor};
use iotpi_hal::{
    blocking::Blocking,
    drivers::{BlockingSensor, I2cRegisters, in_range},
    embedded_hal::{delay::DelayNs, i2c::I2c},
    sim::{Fault, RegisterMap, SimI2c},
    testing::SensorContract,
};

// Registers and values of the datasheet (SBOS547), section 7.6.
const CONFIGURATION: u8 = 0x00;
const SHUNT_VOLTAGE: u8 = 0x01;
const BUS_VOLTAGE: u8 = 0x02;
const MASK_ENABLE: u8 = 0x06;
const MANUFACTURER_ID: u8 = 0xFE;
const TEXAS_INSTRUMENTS: u16 = 0x5449;
const MEASURE_ONCE: u16 = 0x4123;
const IS_READY: u16 = 1 << 3;
const VOLTS_PER_SHUNT_STEP: f64 = 2.5e-6;
const VOLTS_PER_BUS_STEP: f64 = 1.25e-3;

/// The driver: voltage, current and power of a supply.
#[derive(Debug)]
pub struct Ina226<I, D> {
    chip: I2cRegisters<I>,
    delay: D,
    shunt_ohms: f64,
}

impl<I: I2c, D: DelayNs> Ina226<I, D> {
    /// A driver on a bus. It does not access the chip before the first measurement.
    pub fn new(i2c: I, delay: D, address: u8, shunt_ohms: f64) -> Self {
        Self { chip: I2cRegisters::new(i2c, address), delay, shunt_ohms }
    }

    fn word(&mut self, register: u8) -> Result<u16, DeviceError> {
        Ok(u16::from_be_bytes(self.chip.read(register)?))
    }
}

impl<I: I2c + Send + 'static, D: DelayNs + Send + 'static> BlockingSensor for Ina226<I, D> {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Voltage, Quantity::Current, Quantity::Power]
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        if self.word(MANUFACTURER_ID)? != TEXAS_INSTRUMENTS {
            return Err(DeviceError::new(DeviceErrorKind::NotFound, "the chip is no INA226"));
        }
        self.chip.write(CONFIGURATION, MEASURE_ONCE.to_be_bytes())?;
        self.delay.delay_us(2 * 1_210);
        if self.word(MASK_ENABLE)? & IS_READY == 0 {
            return Err(DeviceError::new(DeviceErrorKind::Timeout, "the chip does not finish measuring"));
        }
        let volts = f64::from(self.word(BUS_VOLTAGE)?) * VOLTS_PER_BUS_STEP;
        let shunt_volts = f64::from(self.word(SHUNT_VOLTAGE)?.cast_signed()) * VOLTS_PER_SHUNT_STEP;
        // At 81.92 mV the converter saturates: the voltage is still right, the current is unknown.
        let limit = 0.0819 / self.shunt_ohms;
        let current = in_range(Quantity::Current, shunt_volts / self.shunt_ohms, -limit..=limit);
        let power = match &current.outcome {
            Outcome::Value(amperes) => Sample::new(Quantity::Power, volts * amperes),
            Outcome::NoData(reason) => Sample::no_data(Quantity::Power, reason),
        };
        Ok(vec![Sample::new(Quantity::Voltage, volts), current, power])
    }
}

/// The simulated chip, which measures these voltages in 2.2 ms.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn ina226(volts: f64, shunt_volts: f64) -> RegisterMap<u16> {
    RegisterMap::new()
        .without_auto_increment()
        .register(CONFIGURATION, 0x4127)
        .read_only(SHUNT_VOLTAGE, 0)
        .read_only(BUS_VOLTAGE, 0)
        .read_only(MASK_ENABLE, 0)
        .read_only(MANUFACTURER_ID, TEXAS_INSTRUMENTS)
        .on_write(CONFIGURATION, move |registers, _| {
            registers.set(MASK_ENABLE, 0);
            registers.after(Duration::from_micros(2_200), move |registers| {
                let shunt_steps = (shunt_volts / VOLTS_PER_SHUNT_STEP).round() as i16;
                registers.set(SHUNT_VOLTAGE, shunt_steps.cast_unsigned());
                registers.set(BUS_VOLTAGE, (volts / VOLTS_PER_BUS_STEP).round() as u16);
                registers.set(MASK_ENABLE, IS_READY);
            });
        })
}

fn sensor(bus: &SimI2c) -> Blocking<impl BlockingSensor> {
    Blocking::new(Ina226::new(bus.clone(), bus.delay(), 0x40, 0.01))
}

#[tokio::test]
async fn the_driver_fulfils_the_contract_of_sensors() {
    let bus = SimI2c::new().with_chip(0x40, ina226(5.1, 0.0125));
    let expected =
        [(Quantity::Voltage, 5.09..=5.11), (Quantity::Current, 1.24..=1.26), (Quantity::Power, 6.3..=6.5)];

    SensorContract::new(expected)
        .detecting([Fault::Unplugged, Fault::Nack, Fault::BusLow, Fault::AllOnes, Fault::Hung])
        .check(&mut sensor(&bus), bus.faults())
        .await;
}

#[tokio::test]
async fn a_saturated_shunt_is_no_data_for_current_and_power() {
    let bus = SimI2c::new().with_chip(0x40, ina226(5.1, 0.5));

    let samples = sensor(&bus).read().await.unwrap();

    assert!((samples[0].outcome.value().unwrap() - 5.1).abs() < 0.001);
    assert!(samples[1].outcome.reason().unwrap().starts_with("out of range: 8.192 ampere"));
    assert_eq!(samples[2].outcome.value(), None);
}
