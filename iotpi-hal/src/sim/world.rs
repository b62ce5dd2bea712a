//! The simulated world: a room with a window. Its weather follows from a seed and the time.
//!
//! Deterministic: the same seed and the same moment always give the same weather. The values drift over a day
//! and vary over minutes, so that charts look realistic. Deliberately absent: physics.

use std::{
    collections::HashMap,
    f64::consts::TAU,
    sync::{Arc, Mutex},
};

use iotpi_core::{Clock, Timestamp, time::ManualClock};

use super::{FaultSwitch, lock};

const DAY_SECS: f64 = 86_400.0;
/// The length of the time slots in which a person is present or absent.
const VISIT_SLOT_SECS: i64 = 30;

/// The physical conditions at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Temperature in degrees Celsius.
    pub temperature: f64,
    /// Relative humidity in per cent.
    pub humidity: f64,
    /// Air pressure in pascal.
    pub pressure: f64,
    /// Illuminance in lux.
    pub illuminance: f64,
    /// Whether there is motion in the room.
    pub motion: bool,
    /// Whether the contacts are active: a door is open, a button is pressed.
    pub contact: bool,
    /// Carbon dioxide in parts per million.
    pub co2: f64,
    /// The resistance of a gas sensor in ohms: lower with more volatile compounds in the air.
    pub gas_resistance: f64,
    /// The voltage of the supply in volts.
    pub voltage: f64,
    /// The current of the supply in amperes.
    pub current: f64,
    /// The distance to the nearest object in metres.
    pub distance: f64,
    /// The mass on the scale in kilograms.
    pub mass: f64,
}

impl Default for Weather {
    /// A comfortable room: 21.5 °C, 45 %, 1013.25 hPa, 300 lx, no motion.
    fn default() -> Self {
        Self {
            temperature: 21.5,
            humidity: 45.0,
            pressure: 101_325.0,
            illuminance: 300.0,
            motion: false,
            contact: false,
            co2: 600.0,
            gas_resistance: 50_000.0,
            voltage: 5.1,
            current: 0.8,
            distance: 1.25,
            mass: 1.5,
        }
    }
}

/// The world shared by all simulated devices of a program.
///
/// ```
/// use iotpi_core::SystemClock;
/// use iotpi_hal::sim::{Weather, World};
///
/// let demo = World::new(42, SystemClock::shared());
/// assert!((0.0..40.0).contains(&demo.weather().temperature));
///
/// let test = World::still(Weather::default());
/// test.set(Weather { motion: true, ..test.weather() });
/// assert!(test.weather().motion);
/// ```
#[derive(Debug)]
pub struct World {
    clock: Arc<dyn Clock>,
    course: Course,
    switches: Mutex<HashMap<String, FaultSwitch>>,
}

#[derive(Debug)]
enum Course {
    /// The weather follows from this seed.
    Drifting(u64),
    Still(Mutex<Weather>),
}

impl World {
    /// A world with weather that follows from a seed, at the time of the clock.
    #[must_use]
    pub fn new(seed: u64, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, course: Course::Drifting(seed), switches: Mutex::default() })
    }

    /// A world that does not change until it is [set](Self::set). Its clock does not advance either.
    #[must_use]
    pub fn still(weather: Weather) -> Arc<Self> {
        let clock = ManualClock::at(Timestamp::MIN);
        Arc::new(Self { clock, course: Course::Still(Mutex::new(weather)), switches: Mutex::default() })
    }

    /// Sets the weather of a still world. Has no effect on a drifting one.
    pub fn set(&self, weather: Weather) {
        if let Course::Still(now) = &self.course {
            *lock(now) = weather;
        }
    }

    /// The clock of the world.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The weather now.
    #[must_use]
    pub fn weather(&self) -> Weather {
        match &self.course {
            Course::Drifting(seed) => drift(*seed, self.clock.now()),
            Course::Still(weather) => *lock(weather),
        }
    }

    /// The fault switch of a device. The [catalog](crate::catalog) gives each simulated device the switch of
    /// its driver's name.
    #[must_use]
    pub fn faults(&self, device: &str) -> FaultSwitch {
        lock(&self.switches).entry(device.to_owned()).or_default().clone()
    }
}

fn drift(seed: u64, now: Timestamp) -> Weather {
    let secs = now.as_secs_f64();
    let day = (secs / DAY_SECS).fract();
    // Warmest in mid-afternoon, coldest before dawn; sunlight from 6:00 to 18:00.
    let warmth = (TAU * (day - 0.375)).sin();
    let sun = (TAU * (day - 0.25)).sin().max(0.0);
    let clouds = 0.5 + 0.5 * wander(seed, 5, secs, 1200.0);

    let temperature = 21.0
        + 3.0 * warmth
        + 1.2 * wander(seed, 1, secs, 5400.0)
        + 0.35 * wander(seed, 2, secs, 240.0)
        + 0.04 * wander(seed, 3, secs, 1.5);
    // The same amount of water in warmer air is a lower relative humidity.
    let humidity = 48.0 - 2.2 * (temperature - 21.0)
        + 5.0 * wander(seed, 7, secs, 7200.0)
        + 0.5 * wander(seed, 8, secs, 60.0);
    let pressure = 101_325.0
        + 900.0 * wander(seed, 9, secs, 2.0 * DAY_SECS)
        + 60.0 * wander(seed, 10, secs, 3600.0)
        + 3.0 * wander(seed, 11, secs, 2.0);
    Weather {
        temperature,
        humidity: humidity.clamp(5.0, 95.0),
        pressure,
        illuminance: 2.0 + 800.0 * sun * (0.3 + 0.7 * clouds),
        motion: is_motion(seed, now, day),
        contact: unit(seed, 22, now.as_micros().div_euclid(5_000_000)) < 0.1,
        // More by day, when there are people in the room.
        co2: 700.0
            + 150.0 * warmth
            + 120.0 * wander(seed, 12, secs, 1800.0)
            + 5.0 * wander(seed, 13, secs, 10.0),
        gas_resistance: 50_000.0 + 20_000.0 * wander(seed, 14, secs, 3600.0),
        voltage: 5.1 + 0.05 * wander(seed, 15, secs, 30.0),
        current: 0.8 + 0.3 * wander(seed, 16, secs, 20.0),
        distance: 1.25 + 0.5 * wander(seed, 17, secs, 60.0),
        mass: 1.5 + 0.5 * wander(seed, 18, secs, 600.0),
    }
}

/// A person is present in some slots, more often by day than by night, and moves in most seconds of such a
/// slot.
fn is_motion(seed: u64, now: Timestamp, day: f64) -> bool {
    let secs = now.as_micros().div_euclid(1_000_000);
    let share = if (0.29..0.94).contains(&day) { 0.3 } else { 0.02 };
    unit(seed, 20, secs.div_euclid(VISIT_SLOT_SECS)) < share && unit(seed, 21, secs.div_euclid(3)) < 0.7
}

/// A smooth curve between -1 and 1 with a new target every `period` seconds (value noise).
fn wander(seed: u64, stream: u64, secs: f64, period: f64) -> f64 {
    let at = secs / period;
    #[allow(clippy::cast_possible_truncation)]
    let step = at.floor() as i64;
    let (from, to) = (unit(seed, stream, step), unit(seed, stream, step.wrapping_add(1)));
    let part = at - at.floor();
    let smooth = part * part * (3.0 - 2.0 * part);
    2.0 * (from + (to - from) * smooth) - 1.0
}

/// A number from 0 to 1 that follows from its arguments: SplitMix64 (Steele, Lea, Flood 2014).
#[allow(clippy::cast_precision_loss)]
pub(super) fn unit(seed: u64, stream: u64, step: i64) -> f64 {
    let mut z = seed
        .wrapping_add(stream.wrapping_mul(0xD1B5_4A32_D192_ED03))
        .wrapping_add(step.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn course(seed: u64, step: Duration, count: u32) -> Vec<Weather> {
        let clock = ManualClock::at(Timestamp::parse("2026-06-01T00:00:00Z").unwrap());
        let world = World::new(seed, clock.clone());
        (0..count)
            .map(|_| {
                clock.advance(step);
                world.weather()
            })
            .collect()
    }

    #[test]
    fn the_weather_follows_from_a_seed_and_a_time() {
        let (a, b) = (course(7, Duration::from_secs(60), 50), course(7, Duration::from_secs(60), 50));

        assert_eq!(a, b);
        assert_ne!(a, course(8, Duration::from_secs(60), 50));
    }

    #[test]
    fn over_a_week_all_values_are_plausible_and_change() {
        let week = course(1, Duration::from_secs(20), 7 * 24 * 180);

        let range = |of: fn(&Weather) -> f64| {
            week.iter().map(of).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
        };
        let (cold, warm) = range(|w| w.temperature);
        let (low, high) = range(|w| w.pressure);
        let (dark, bright) = range(|w| w.illuminance);
        assert!(cold > 14.0 && warm < 28.0 && warm - cold > 4.0, "{cold} to {warm}");
        assert!(low > 97_000.0 && high < 105_000.0 && high - low > 300.0, "{low} to {high}");
        assert!(dark < 5.0 && bright > 300.0, "{dark} to {bright}");
        assert!(week.iter().all(|w| (5.0..=95.0).contains(&w.humidity)));
        let moving = week.iter().filter(|w| w.motion).count();
        assert!((week.len() / 50..week.len() / 3).contains(&moving), "{moving} of {}", week.len());
    }

    #[test]
    fn the_temperature_does_not_jump_between_seconds() {
        let minutes = course(3, Duration::from_secs(1), 600);

        let jump =
            minutes.windows(2).map(|w| (w[1].temperature - w[0].temperature).abs()).fold(0.0, f64::max);

        assert!(jump < 0.15, "{jump}");
    }
}
