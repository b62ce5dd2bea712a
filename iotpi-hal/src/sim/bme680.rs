//! The registers of a BME680.
//!
//! The raw values are found by searching the compensation of the driver; that this compensation is right, a test
//! checks with the driver of others. The chip measures in forced mode and heats its plate for the time that the
//! driver sets.

use std::{sync::Arc, time::Duration};

use super::{RegisterMap, Registers, World};
use crate::drivers::bme680::{Calibration, register};

/// Typical constants of a chip: the registers from `0x8A`, `0xE1` and `0x00`.
const ONE: [u8; 23] = [
    0x27, 0x66, 0x03, 0x30, 0x89, 0x8C, 0x4E, 0xD7, 0x58, 0x00, 0xF2, 0x23, 0x58, 0xFF, 0x26, 0x1E, 0x00,
    0x00, 0x0D, 0xF3, 0x10, 0xF3, 0x1E,
];
const TWO: [u8; 14] = [0x3F, 0x8A, 0x2F, 0x00, 0x2D, 0x14, 0x78, 0x9C, 0x4F, 0x66, 0xB4, 0xCA, 0xE2, 0x12];
const HEATER: [u8; 5] = [0x32, 0xAA, 0x16, 0xCB, 0x13];

/// A BME680 in a world, for a [`SimI2c`](super::SimI2c) bus.
#[must_use]
pub fn bme680(world: Arc<World>) -> RegisterMap<u8> {
    RegisterMap::new()
        .with_paired_writes()
        .read_only_block(register::HEATER_VALUE, HEATER)
        .read_only_block(register::CALIBRATION_1, ONE)
        .read_only_block(register::CALIBRATION_2, TWO)
        .read_only(register::ID, register::CHIP_ID)
        .read_only(register::VARIANT, 0x00)
        .read_only_block(register::STATUS, [0; 17])
        .register(register::RESET, 0)
        .register(register::CTRL_HUM, 0)
        .register(register::CTRL_MEAS, 0)
        .register(register::CTRL_GAS_1, 0)
        .register(register::HEATER_RESISTANCE, 0)
        .register(register::HEATER_TIME, 0)
        .on_write(register::RESET, |registers, value| {
            if value == register::SOFT_RESET {
                registers.reset();
            }
        })
        .on_write(register::CTRL_MEAS, move |registers, ctrl_meas| {
            if ctrl_meas & 0b11 == 0b01 {
                measure(registers, ctrl_meas, &world);
            }
        })
}

/// One forced measurement.
fn measure(registers: &mut Registers<u8>, ctrl_meas: u8, world: &World) {
    let calibration = Calibration::from_registers(&ONE, &TWO, &HEATER);
    let weather = world.weather();
    let temperature = search(20, |raw| calibration.t_fine(raw) / 5120.0, weather.temperature);
    let t_fine = calibration.t_fine(temperature);
    // Pressure and resistance fall as their raw values rise.
    let pressure = search(20, |raw| -calibration.pressure(t_fine, raw), -weather.pressure);
    let humidity = search(16, |raw| calibration.humidity(t_fine, raw), weather.humidity);
    let runs_gas = registers.get(register::CTRL_GAS_1) & register::RUN_GAS_BME680 != 0;
    let gas = if runs_gas { gas(&calibration, weather.gas_resistance) } else { [0, 0] };
    // The heater reaches its temperature if it has a target above 200 °C.
    let is_hot = registers.get(register::HEATER_RESISTANCE) >= calibration.heater_resistance(200.0, 25.0);
    let factor = 4_u64.pow(u32::from(registers.get(register::HEATER_TIME) >> 6));
    let heating = factor * u64::from(registers.get(register::HEATER_TIME) & 0x3F);

    let bits20 = |raw: u32| [(raw >> 12) as u8, (raw >> 4) as u8, (raw << 4) as u8];
    let [p1, p2, p3] = bits20(pressure);
    let [t1, t2, t3] = bits20(temperature);
    let [_, _, h1, h2] = humidity.to_be_bytes();
    let flags = if runs_gas && is_hot { register::GAS_VALID | register::HEATER_STABLE } else { 0 };
    let data = [p1, p2, p3, t1, t2, t3, h1, h2, 0, 0, 0, gas[0], gas[1] | flags];
    registers.set(register::STATUS, 0);
    registers.after(Duration::from_millis(8 + heating), move |registers| {
        registers.set_block(register::DATA, &data);
        registers.set(register::STATUS, register::NEW_DATA);
        registers.set(register::CTRL_MEAS, ctrl_meas & !0b11);
    });
}

/// The range whose raw value is best inside the scale of 10 bits, and that value: the two bytes without flags.
fn gas(calibration: &Calibration, ohms: f64) -> [u8; 2] {
    let range = (0..16).rev().find(|range| calibration.gas_bme680(0, *range) >= ohms).unwrap_or(0);
    let raw = search(10, |raw| -calibration.gas_bme680(raw as u16, range), -ohms);
    [(raw >> 2) as u8, (raw << 6) as u8 | range]
}

/// The raw value of `bits` bits at which the increasing function `rising` is closest to `wanted`.
fn search(bits: u32, rising: impl Fn(u32) -> f64, wanted: f64) -> u32 {
    super::bme280::invert(bits, rising, wanted)
}

#[cfg(test)]
mod tests {
    use bosch_bme680::DeviceAddress;

    use super::*;
    use crate::{
        drivers::{
            BlockingSensor,
            bme680::{Bme680, PRIMARY_ADDRESS},
        },
        sim::{SimI2c, Weather},
    };

    #[test]
    fn another_driver_reads_the_same_values_from_the_simulated_chip() {
        for (temperature, humidity, pressure, gas_resistance) in [
            (21.5, 45.0, 101_325.0, 50_000.0),
            (-5.0, 80.0, 95_000.0, 8_000.0),
            (42.0, 12.0, 70_000.0, 300_000.0),
        ] {
            let weather = Weather { temperature, humidity, pressure, gas_resistance, ..Weather::default() };
            let bus = SimI2c::new().with_chip(PRIMARY_ADDRESS, bme680(World::still(weather)));

            let ours = Bme680::new(bus.clone(), bus.delay(), PRIMARY_ADDRESS).sense().unwrap();
            let config = bosch_bme680::Configuration::default();
            let address = DeviceAddress::Primary;
            let mut other =
                bosch_bme680::Bme680::new(bus.clone(), address, bus.delay(), &config, 20).unwrap();
            let theirs = other.measure().unwrap();

            let value = |index: usize| ours[index].outcome.value().unwrap();
            assert!((value(0) - f64::from(theirs.temperature)).abs() < 0.02, "{ours:?} {theirs:?}");
            assert!((value(1) - f64::from(theirs.humidity)).abs() < 0.05, "{ours:?} {theirs:?}");
            assert!((value(2) - f64::from(theirs.pressure)).abs() < 10.0, "{ours:?} {theirs:?}");
            let gas = f64::from(theirs.gas_resistance.unwrap());
            assert!((value(3) / gas - 1.0).abs() < 0.01, "{ours:?} {theirs:?}");
            assert!((value(0) - temperature).abs() < 0.02 && (value(2) - pressure).abs() < 10.0);
        }
    }

    #[test]
    fn without_a_stable_heater_only_the_gas_resistance_is_missing() {
        let bus = SimI2c::new().with_chip(PRIMARY_ADDRESS, {
            let world = World::still(Weather::default());
            // The supply of the heater is too weak.
            bme680(world).read_only(register::HEATER_RESISTANCE, 0)
        });

        let samples = Bme680::new(bus.clone(), bus.delay(), PRIMARY_ADDRESS).sense().unwrap();

        assert!(samples[..3].iter().all(|sample| sample.outcome.value().is_some()));
        let reason = samples[3].outcome.reason().unwrap();
        assert!(reason.starts_with("out of range: the heater is not stable"), "{reason}");
    }
}
