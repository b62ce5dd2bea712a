//! Simulated chips with commands: light, climate, carbon dioxide.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{CommandChip, World, lock};
use crate::drivers::{crc8::crc8, scd4x, sht};

/// A number in steps, limited to 16 bits as the converter of a chip does.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn steps(value: f64) -> u16 {
    value.round().clamp(0.0, 65_535.0) as u16
}

/// Words with their checksums.
fn with_checksums(words: &[u16]) -> Vec<u8> {
    words.iter().map(|word| word.to_be_bytes()).flat_map(|word| [word[0], word[1], crc8(&word)]).collect()
}

/// An SHT3x or SHT4x in a world, for a [`SimI2c`](super::SimI2c) bus.
#[must_use]
pub fn sht(chip: sht::Chip, world: Arc<World>) -> CommandChip {
    let commands = chip.commands();
    let measuring = Duration::from_micros(commands.measurement_micros.into());
    let simulated = CommandChip::new().on(commands.measure, measuring, move |_| {
        let weather = world.weather();
        let humidity = match chip {
            sht::Chip::Sht3x => weather.humidity / 100.0,
            sht::Chip::Sht4x => (weather.humidity + 6.0) / 125.0,
        };
        with_checksums(&[(weather.temperature + 45.0) / 175.0, humidity].map(|share| steps(share * 65_535.0)))
    });
    let resetting = Duration::from_micros(commands.reset_micros.into());
    commands.reset.iter().fold(simulated, |chip, reset| chip.on(*reset, resetting, |_| Vec::new()))
}

/// A BH1750 in a world, for a [`SimI2c`](super::SimI2c) bus. It measures for 120 ms, the typical time.
#[must_use]
pub fn bh1750(world: Arc<World>) -> CommandChip {
    let last = Arc::new(Mutex::new(0_u16));
    CommandChip::new()
        .on([0x20], Duration::from_millis(120), move |_| {
            *lock(&last) = steps(world.weather().illuminance * 1.2);
            lock(&last).to_be_bytes().to_vec()
        })
        // The data register after power-on.
        .with_busy_answer([0, 0])
}

/// An AHT20 in a world, for a [`SimI2c`](super::SimI2c) bus.
#[must_use]
pub fn aht20(world: Arc<World>) -> CommandChip {
    CommandChip::new()
        .on([0xBE, 0x08, 0x00], Duration::ZERO, |_| Vec::new())
        .on([0xBA], Duration::ZERO, |_| Vec::new())
        .on([0xAC, 0x33, 0x00], Duration::from_millis(75), move |_| {
            let weather = world.weather();
            let bits20 = |share: f64| {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let steps = (share * 1_048_576.0).round().clamp(0.0, 1_048_575.0) as u32;
                steps
            };
            let (humidity, temperature) =
                (bits20(weather.humidity / 100.0), bits20((weather.temperature + 50.0) / 200.0));
            let packed = (u64::from(humidity) << 20 | u64::from(temperature)).to_be_bytes();
            let mut answer = vec![0x18];
            answer.extend_from_slice(&packed[3..]);
            answer.push(crc8(&answer));
            answer
        })
        .with_busy_answer([0x98])
}

/// An SCD40 or SCD41 in a world, for a [`SimI2c`](super::SimI2c) bus. It has a new measurement each time when the
/// driver asks whether there is one.
#[must_use]
pub fn scd4x(world: Arc<World>) -> CommandChip {
    use scd4x::command;

    let measures = Arc::new(Mutex::new(false));
    let (started, stopped, asked) = (measures.clone(), measures.clone(), measures);
    CommandChip::new()
        .on(command::START, Duration::ZERO, move |_| {
            *lock(&started) = true;
            Vec::new()
        })
        .on(command::STOP, Duration::from_millis(500), move |_| {
            *lock(&stopped) = false;
            Vec::new()
        })
        .on(command::IS_READY, Duration::from_millis(1), move |_| {
            with_checksums(&[if *lock(&asked) { 0x8006 } else { 0x8000 }])
        })
        .on(command::READ, Duration::from_millis(1), move |_| {
            let weather = world.weather();
            let shares = [(weather.temperature + 45.0) / 175.0, weather.humidity / 100.0];
            let [temperature, humidity] = shares.map(|share| steps(share * 65_535.0));
            with_checksums(&[steps(weather.co2), temperature, humidity])
        })
}
