//! Simulated chips with registers of 16 bits: thermometer, power monitor, converter.

use std::{sync::Arc, time::Duration};

use super::{RegisterMap, World};
use crate::drivers::{
    ads1115::register as ads1115_register,
    ina219::register as ina219_register,
    mcp9808::register as mcp9808_register,
    pca9685::{self, register as pca9685_register},
};

/// A number in steps, limited as the converter of a chip does.
#[allow(clippy::cast_possible_truncation)]
fn steps(value: f64, limit: i16) -> i16 {
    let limit = f64::from(limit);
    value.round().clamp(-limit, limit) as i16
}

/// An MCP9808 in a world, for a [`SimI2c`](super::SimI2c) bus. It converts in 250 ms.
#[must_use]
pub fn mcp9808(world: Arc<World>) -> RegisterMap<u16> {
    use mcp9808_register::{
        CONFIGURATION, DEVICE_ID, MANUFACTURER_ID, MCP9808, MICROCHIP, SHUTDOWN, TEMPERATURE,
    };

    RegisterMap::new()
        .without_auto_increment()
        .register(CONFIGURATION, 0)
        .read_only(TEMPERATURE, 0)
        .read_only(MANUFACTURER_ID, MICROCHIP)
        .read_only(DEVICE_ID, MCP9808 << 8)
        .on_write(CONFIGURATION, move |registers, value| {
            if value & SHUTDOWN == 0 {
                let sixteenths = steps(world.weather().temperature * 16.0, 0x0FFF).cast_unsigned() & 0x1FFF;
                registers.after(Duration::from_millis(250), move |registers| {
                    registers.set(TEMPERATURE, sixteenths);
                });
            }
        })
}

/// An INA219 in a world, with a shunt of this many ohms, for a [`SimI2c`](super::SimI2c) bus. It measures in 1.06
/// ms.
#[must_use]
pub fn ina219(world: Arc<World>, shunt_ohms: f64) -> RegisterMap<u16> {
    use ina219_register::{BUS_VOLTAGE, CONFIGURATION, IS_READY, SHUNT_VOLTAGE};
    const RESET: u16 = 1 << 15;

    RegisterMap::new()
        .without_auto_increment()
        .register(CONFIGURATION, 0x399F)
        .read_only(SHUNT_VOLTAGE, 0)
        .read_only(BUS_VOLTAGE, 0)
        .on_write(CONFIGURATION, move |registers, value| {
            if value & RESET != 0 {
                registers.reset();
            }
            let weather = world.weather();
            let bus = steps(weather.voltage / 0.004, 8000).max(0).cast_unsigned() << 3;
            let shunt = steps(weather.current * shunt_ohms / 10e-6, 32_000).cast_unsigned();
            registers.set(BUS_VOLTAGE, registers.get(BUS_VOLTAGE) & !IS_READY);
            registers.after(Duration::from_micros(1_064), move |registers| {
                registers.set(SHUNT_VOLTAGE, shunt);
                registers.set(BUS_VOLTAGE, bus | IS_READY);
            });
        })
}

/// An ADS1115 with these voltages at its inputs, for a [`SimI2c`](super::SimI2c) bus. It converts in 7.8 ms.
#[must_use]
pub fn ads1115(volts: [f64; 4]) -> RegisterMap<u16> {
    use ads1115_register::{CONFIGURATION, CONVERSION, START};

    RegisterMap::new()
        .without_auto_increment()
        .read_only(CONVERSION, 0)
        .register(CONFIGURATION, 0x8583)
        .on_write(CONFIGURATION, move |registers, value| {
            if value & START == 0 {
                return;
            }
            let input = match value >> 12 & 0b111 {
                0b000 => volts[0] - volts[1],
                0b001 => volts[0] - volts[3],
                0b010 => volts[1] - volts[3],
                0b011 => volts[2] - volts[3],
                single => volts[usize::from(single - 4)],
            };
            let full_scale =
                [6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256][usize::from(value >> 9 & 0b111)];
            let raw = steps(input / full_scale * 32_768.0, i16::MAX).cast_unsigned();
            registers.set(CONFIGURATION, value & !START);
            registers.after(Duration::from_micros(7_813), move |registers| {
                registers.set(CONVERSION, raw);
                registers.set(CONFIGURATION, value | START);
            });
        })
}

/// A PCA9685, for a [`SimI2c`](super::SimI2c) bus: it ignores the prescaler while it does not sleep.
#[must_use]
pub fn pca9685() -> RegisterMap<u8> {
    use pca9685_register::{ALL_OUTPUTS, FIRST_OUTPUT, FULL, MODE1, PRESCALER, SLEEP};

    let outputs = usize::from(pca9685::OUTPUTS);
    let mut chip = RegisterMap::new().register(MODE1, 0x11).register(PRESCALER, 0x1E);
    // After power-on every output is always off.
    for (register, value) in (FIRST_OUTPUT..).zip([0, 0, 0, FULL].into_iter().cycle().take(4 * outputs)) {
        chip = chip.register(register, value);
    }
    for (byte, value) in (0..).zip([0, 0, 0, FULL]) {
        chip =
            chip.register(ALL_OUTPUTS + byte, value).on_write(ALL_OUTPUTS + byte, move |registers, value| {
                for output in 0..pca9685::OUTPUTS {
                    registers.set(FIRST_OUTPUT + 4 * output + byte, value);
                }
            });
    }
    let mut prescaler = 0x1E;
    chip.on_write(PRESCALER, move |registers, value| {
        if registers.get(MODE1) & SLEEP != 0 {
            prescaler = value;
        }
        registers.set(PRESCALER, prescaler);
    })
}
