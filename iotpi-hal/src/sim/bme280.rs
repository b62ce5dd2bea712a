//! The registers of a BME280 or BMP280.
//!
//! The calibration is the example of the datasheet. Raw values are computed by inverting the *integer*
//! compensation of section 4.2.3, while the driver uses the floating-point one: an error in either shows as a
//! difference from the other. The chip measures in forced mode, takes the time of the datasheet, and skips
//! measurements that are switched off. Deliberately absent: the filter and normal mode.

use std::{sync::Arc, time::Duration};

use super::{RegisterMap, Registers, World};
use crate::drivers::bme280::{Calibration, Chip, register};

/// The example of BST-BMP280-DS001 section 3.12, with typical humidity constants.
const CALIBRATION: Calibration = Calibration {
    t1: 27504,
    t2: 26435,
    t3: -1000,
    p1: 36477,
    p: [-10685, 3024, 2855, 140, -7, 15500, -14600, 6000],
    h1: 75,
    h2: 370,
    h3: 0,
    h4: 313,
    h5: 50,
    h6: 30,
};

/// The time from a reset until the calibration is copied.
const START_UP: Duration = Duration::from_millis(2);

/// A BME280 or BMP280 in a world, for a [`SimI2c`](super::SimI2c) bus.
///
/// ```
/// use iotpi_hal::{drivers::bme280::{Bme280, Chip, PRIMARY_ADDRESS}, sim::{self, SimI2c, Weather, World}};
///
/// let world = World::still(Weather { humidity: 61.5, ..Weather::default() });
/// let bus = SimI2c::new().with_chip(PRIMARY_ADDRESS, sim::bme280(Chip::Bme280, world));
/// let measured = Bme280::new(bus.clone(), bus.delay(), PRIMARY_ADDRESS, Chip::Bme280).measure()?;
/// assert!((measured.humidity.unwrap().value().unwrap() - 61.5).abs() < 0.03);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[must_use]
pub fn bme280(chip: Chip, world: Arc<World>) -> RegisterMap<u8> {
    let (id, has_humidity) = match chip {
        Chip::Bme280 => (0x60, true),
        Chip::Bmp280 => (0x58, false),
    };
    let [first, h1, second] = calibration_registers();
    RegisterMap::new()
        .with_paired_writes()
        .read_only_block(register::CALIBRATION_1, first)
        .read_only_block(0xA1, h1)
        .read_only_block(register::CALIBRATION_2, second)
        .read_only(register::ID, id)
        .read_only(register::STATUS, 0)
        .read_only_block(register::DATA, data(None, None, None))
        .register(register::RESET, 0)
        .register(register::CTRL_HUM, 0)
        .register(register::CTRL_MEAS, 0)
        .on_write(register::RESET, |registers, value| {
            if value == register::SOFT_RESET {
                registers.reset();
                registers.set(register::STATUS, register::COPYING_CALIBRATION);
                registers.after(START_UP, |registers| registers.set(register::STATUS, 0));
            }
        })
        .on_write(register::CTRL_MEAS, move |registers, ctrl_meas| {
            if matches!(ctrl_meas & 0b11, 0b01 | 0b10) {
                let ctrl_hum = if has_humidity { registers.get(register::CTRL_HUM) } else { 0 };
                measure(registers, ctrl_meas, ctrl_hum, &world);
            }
        })
}

/// The calibration in the registers of the chip (datasheet table 16): `0x88..=0x9F`, `0xA1`, `0xE1..=0xE7`.
fn calibration_registers() -> [Vec<u8>; 3] {
    let c = CALIBRATION;
    let words = [c.t1, c.t2.cast_unsigned(), c.t3.cast_unsigned(), c.p1].into_iter();
    let words = words.chain(c.p.map(i16::cast_unsigned)).flat_map(u16::to_le_bytes);
    let [h2_low, h2_high] = c.h2.to_le_bytes();
    let [h4, h5] = [c.h4, c.h5].map(i16::cast_unsigned);
    #[allow(clippy::cast_possible_truncation)]
    let shared = [(h4 >> 4) as u8, (h4 & 0x0F) as u8 | ((h5 & 0x0F) << 4) as u8, (h5 >> 4) as u8];
    let second = vec![h2_low, h2_high, c.h3, shared[0], shared[1], shared[2], c.h6.cast_unsigned()];
    [words.collect(), vec![c.h1], second]
}

/// One forced measurement. The data registers change when its time has passed.
fn measure(registers: &mut Registers<u8>, ctrl_meas: u8, ctrl_hum: u8, world: &World) {
    let times = |bits: u8| if bits == 0 { 0 } else { 1_u64 << (bits.min(5) - 1) };
    let temperature_times = times(ctrl_meas >> 5);
    let pressure_times = times(ctrl_meas >> 2 & 0b111);
    let humidity_times = times(ctrl_hum & 0b111);
    // Section 9.1, typical: 1 + 2 T + (2 P + 0.5) + (2 H + 0.5) milliseconds.
    let extra = |times: u64| if times == 0 { 0 } else { 2_000 * times + 500 };
    let micros = 1_000 + 2_000 * temperature_times + extra(pressure_times) + extra(humidity_times);

    let weather = world.weather();
    let raw_temperature = invert(20, |raw| f64::from(t_fine(raw)) / 5120.0, weather.temperature);
    let t_fine = t_fine(raw_temperature);
    // Pressure falls as its raw value rises.
    let raw_pressure = invert(20, |raw| -pressure(t_fine, raw), -weather.pressure);
    let raw_humidity = invert(16, |raw| humidity(t_fine, raw), weather.humidity);
    // Without the filter, x1 has 16 bits, x2 has 17, up to 20 (section 3.4.1).
    let coarse = |raw: u32, times: u64| raw & (0xF_FFFF << (4 - times.trailing_zeros().min(4)));
    let measured = data(
        (temperature_times > 0).then(|| coarse(raw_temperature, temperature_times)),
        (pressure_times > 0).then(|| coarse(raw_pressure, pressure_times)),
        (humidity_times > 0).then_some(raw_humidity),
    );
    registers.set(register::STATUS, register::MEASURING);
    registers.after(Duration::from_micros(micros), move |registers| {
        registers.set_block(register::DATA, &measured);
        registers.set(register::STATUS, 0);
        // After a forced measurement the chip returns to sleep mode.
        registers.set(register::CTRL_MEAS, ctrl_meas & !0b11);
    });
}

/// The data registers with these raw values. A skipped measurement has a value of its own (section 4.2.3).
#[allow(clippy::cast_possible_truncation)]
fn data(temperature: Option<u32>, pressure: Option<u32>, humidity: Option<u32>) -> [u8; 8] {
    let bits20 = |raw: u32| [(raw >> 12) as u8, (raw >> 4) as u8, (raw << 4) as u8];
    let [p1, p2, p3] = bits20(pressure.unwrap_or(0x8_0000));
    let [t1, t2, t3] = bits20(temperature.unwrap_or(0x8_0000));
    let [_, _, h1, h2] = humidity.unwrap_or(0x8000).to_be_bytes();
    [p1, p2, p3, t1, t2, t3, h1, h2]
}

/// The raw value of `bits` bits at which the increasing function `rising` is closest to `wanted`.
pub(super) fn invert(bits: u32, rising: impl Fn(u32) -> f64, wanted: f64) -> u32 {
    let (mut below, mut above) = (0, (1_u32 << bits) - 1);
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if rising(middle) <= wanted { below = middle } else { above = middle }
    }
    if (rising(below) - wanted).abs() <= (rising(above) - wanted).abs() { below } else { above }
}

fn t_fine(raw: u32) -> i32 {
    let (raw, c) = (raw.cast_signed(), CALIBRATION);
    let t1 = i32::from(c.t1);
    let var1 = (((raw >> 3) - (t1 << 1)) * i32::from(c.t2)) >> 11;
    let offset = (raw >> 4) - t1;
    let var2 = (((offset * offset) >> 12) * i32::from(c.t3)) >> 14;
    var1 + var2
}

/// Pressure in pascal; the 64-bit formula of the datasheet returns 256ths.
#[allow(clippy::cast_precision_loss)]
fn pressure(t_fine: i32, raw: u32) -> f64 {
    let [p2, p3, p4, p5, p6, p7, p8, p9] = CALIBRATION.p.map(i64::from);
    let var1 = i64::from(t_fine) - 128_000;
    let var2 = var1 * var1 * p6 + ((var1 * p5) << 17) + (p4 << 35);
    let var1 = ((var1 * var1 * p3) >> 8) + ((var1 * p2) << 12);
    let var1 = (((1_i64 << 47) + var1) * i64::from(CALIBRATION.p1)) >> 33;
    let p = (((1_048_576 - i64::from(raw)) << 31) - var2) * 3125 / var1;
    let var1 = (p9 * (p >> 13) * (p >> 13)) >> 25;
    let var2 = (p8 * p) >> 19;
    (((p + var1 + var2) >> 8) + (p7 << 4)) as f64 / 256.0
}

/// Humidity in per cent; the 32-bit formula of the datasheet returns 1024ths. Computed in 64 bits, because
/// the search tries raw values outside the range of the chip.
#[allow(clippy::cast_precision_loss)]
fn humidity(t_fine: i32, raw: u32) -> f64 {
    let c = CALIBRATION;
    let [h2, h4, h5] = [c.h2, c.h4, c.h5].map(i64::from);
    let v = i64::from(t_fine) - 76_800;
    let value = ((i64::from(raw) << 14) - (h4 << 20) - h5 * v + 16_384) >> 15;
    let slope = ((v * i64::from(c.h6)) >> 10) * (((v * i64::from(c.h3)) >> 11) + 32_768);
    let v = value * ((((slope >> 10) + 2_097_152) * h2 + 8192) >> 14);
    let v = v - (((((v >> 15) * (v >> 15)) >> 7) * i64::from(c.h1)) >> 4);
    (v.clamp(0, 419_430_400) >> 12) as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use embedded_hal::{
        delay::DelayNs,
        i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation},
    };
    use iotpi_core::{DeviceErrorKind, Outcome};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        drivers::{
            BlockingSensor,
            bme280::{Bme280, PRIMARY_ADDRESS},
        },
        sim::{Fault, FaultSwitch, SimDelay, SimI2c, Weather},
    };

    fn bus(chip: Chip, weather: Weather) -> SimI2c {
        SimI2c::new().with_chip(PRIMARY_ADDRESS, bme280(chip, World::still(weather)))
    }

    fn driver(chip: Chip, bus: &SimI2c) -> Bme280<SimI2c, SimDelay> {
        Bme280::new(bus.clone(), bus.delay(), PRIMARY_ADDRESS, chip)
    }

    #[test]
    fn the_integer_formulas_match_the_example_of_the_datasheet() {
        let t_fine = t_fine(519_888);

        assert_eq!(t_fine, 128_422);
        assert!((pressure(t_fine, 415_148) - 100_653.26).abs() < 0.01, "{}", pressure(t_fine, 415_148));
    }

    proptest! {
        #[test]
        fn the_driver_reads_the_simulated_weather_within_its_resolution(
            temperature in -39.9..84.9, humidity in 0.0..=100.0, pressure in 30_010.0..109_990.0,
        ) {
            let weather = Weather { temperature, humidity, pressure, ..Weather::default() };

            let measured = driver(Chip::Bme280, &bus(Chip::Bme280, weather)).measure().unwrap();

            // One step of 16 bits is 0.0051 °C and 2.6 Pa at 25 °C (section 3.4), and up to 3.7 Pa at the
            // limits of the range.
            let value = |outcome: &Outcome| outcome.value().unwrap();
            prop_assert!((value(&measured.temperature) - temperature).abs() < 0.0065, "{measured:?}");
            prop_assert!((value(&measured.pressure) - pressure).abs() < 4.5, "{measured:?}");
            prop_assert!((value(&measured.humidity.unwrap()) - humidity).abs() < 0.03);
        }
    }

    #[test]
    fn a_bmp280_has_no_humidity() {
        let measured = driver(Chip::Bmp280, &bus(Chip::Bmp280, Weather::default())).measure().unwrap();

        assert_eq!(measured.humidity, None);
    }

    #[test]
    fn the_error_for_an_unexpected_chip_names_it() {
        let error = driver(Chip::Bme280, &bus(Chip::Bmp280, Weather::default())).measure().unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
        assert!(
            error.to_string().contains("found a BMP280") && error.to_string().contains("0x58"),
            "{error}"
        );
    }

    #[test]
    fn the_other_address_does_not_respond() {
        let bus = bus(Chip::Bme280, Weather::default());

        let error = Bme280::new(bus.clone(), bus.delay(), 0x77, Chip::Bme280).measure().unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
        assert!(error.to_string().contains("no device answers at 0x77"), "{error}");
    }

    #[test]
    fn a_pressure_outside_the_operating_range_is_no_data_and_the_other_values_are_kept() {
        let high = Weather { pressure: 25_000.0, ..Weather::default() };

        let samples = driver(Chip::Bme280, &bus(Chip::Bme280, high)).sense().unwrap();

        let [temperature, humidity, pressure] = &samples[..] else { panic!("{samples:?}") };
        assert!((temperature.outcome.value().unwrap() - high.temperature).abs() < 0.01);
        assert!((humidity.outcome.value().unwrap() - high.humidity).abs() < 0.1);
        let reason = pressure.outcome.reason().unwrap();
        assert!(reason.starts_with("out of range: 25") && reason.contains("30000"), "{reason}");
    }

    #[test]
    fn without_a_temperature_nothing_can_be_computed() {
        let hot = Weather { temperature: 92.0, ..Weather::default() };

        let error = driver(Chip::Bme280, &bus(Chip::Bme280, hot)).measure().unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::OutOfRange);
    }

    #[test]
    fn a_driver_that_does_not_wait_gets_the_busy_status() {
        /// A delay that does not advance the time of the chip.
        struct NoDelay;
        impl DelayNs for NoDelay {
            fn delay_ns(&mut self, _ns: u32) {}
        }
        let bus = bus(Chip::Bme280, Weather::default());

        let error = Bme280::new(bus, NoDelay, PRIMARY_ADDRESS, Chip::Bme280).measure().unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::Timeout);
    }

    /// A bus with an adapter that does not report which byte was not acknowledged, as the adapter of the Pi.
    struct AmbiguousNack(SimI2c, FaultSwitch);

    impl ErrorType for AmbiguousNack {
        type Error = ErrorKind;
    }

    impl I2c for AmbiguousNack {
        fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
            let unknown = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown);
            match self.1.fault() {
                Some(_) => Err(unknown),
                None => self.0.transaction(address, operations).map_err(|_| unknown),
            }
        }
    }

    #[test]
    fn without_an_error_code_a_chip_that_stops_responding_is_a_bus_error_and_then_not_found() {
        let bus = bus(Chip::Bme280, Weather::default());
        let silence = FaultSwitch::default();
        let ambiguous = AmbiguousNack(bus.clone(), silence.clone());
        let mut driver = Bme280::new(ambiguous, bus.delay(), PRIMARY_ADDRESS, Chip::Bme280);
        driver.measure().unwrap();

        silence.begin(Fault::Unplugged);
        let kinds = [driver.measure(), driver.measure()].map(|m| m.unwrap_err().kind());
        silence.end();

        assert_eq!(kinds, [DeviceErrorKind::Bus, DeviceErrorKind::NotFound]);
        assert!(driver.measure().is_ok());
    }
}
