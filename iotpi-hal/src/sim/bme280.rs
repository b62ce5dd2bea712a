//! A BME280 or BMP280 that answers register reads and writes on an I2C bus of its own.
//!
//! Its calibration is the example of the datasheet. It computes raw values by inverting the *integer*
//! compensation of section 4.2.3, while the driver uses the floating-point one: an error in either shows as a
//! difference from the other. It measures in forced mode, takes the time of the datasheet, and skips
//! measurements that are switched off. Deliberately absent: the filter and normal mode.

use std::sync::{Arc, Mutex};

use embedded_hal::{
    delay::DelayNs,
    i2c::{Error, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation},
};

use super::{Fault, FaultSwitch, World, lock};
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

/// The simulated chip, before it is connected to a bus.
#[derive(Debug)]
pub struct SimBme280(State);

#[derive(Debug)]
struct State {
    chip: Chip,
    address: u8,
    world: Arc<World>,
    faults: FaultSwitch,
    registers: [u8; 256],
    /// `ctrl_hum` at the last write to `ctrl_meas`, which makes it effective.
    humidity_on: bool,
    /// The register the next read starts at.
    pointer: u8,
    /// Nanoseconds until the measurement is finished.
    busy_ns: u64,
}

/// An I2C bus with the simulated chip as its only device.
#[derive(Debug)]
pub struct SimI2c(Arc<Mutex<State>>);

/// A delay that advances the time of the simulated chip. No thread sleeps.
#[derive(Debug)]
pub struct SimDelay(Arc<Mutex<State>>);

/// An error of the simulated I2C bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimI2cError(ErrorKind);

impl Error for SimI2cError {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

impl SimBme280 {
    /// A chip at an address, in a world.
    #[must_use]
    pub fn new(chip: Chip, address: u8, world: Arc<World>) -> Self {
        let mut registers = [0; 256];
        registers[usize::from(register::ID)] = match chip {
            Chip::Bme280 => 0x60,
            Chip::Bmp280 => 0x58,
        };
        burn_in(&mut registers);
        let mut state = State {
            chip,
            address,
            world,
            faults: FaultSwitch::default(),
            registers,
            humidity_on: false,
            pointer: 0,
            busy_ns: 0,
        };
        state.reset();
        Self(state)
    }

    /// The same chip with the faults of this switch.
    #[must_use]
    pub fn with_faults(mut self, faults: FaultSwitch) -> Self {
        self.0.faults = faults;
        self
    }

    /// The bus with the chip on it, and the delay that advances its time.
    #[must_use]
    pub fn connect(self) -> (SimI2c, SimDelay) {
        let state = Arc::new(Mutex::new(self.0));
        (SimI2c(Arc::clone(&state)), SimDelay(state))
    }
}

/// Writes the calibration to the registers of the chip (datasheet table 16).
fn burn_in(registers: &mut [u8; 256]) {
    let c = CALIBRATION;
    let words = [c.t1, c.t2.cast_unsigned(), c.t3.cast_unsigned(), c.p1].into_iter();
    let words = words.chain(c.p.map(i16::cast_unsigned)).flat_map(u16::to_le_bytes);
    for (register, byte) in registers[usize::from(register::CALIBRATION_1)..].iter_mut().zip(words) {
        *register = byte;
    }
    registers[0xA1] = c.h1;
    let [h2_low, h2_high] = c.h2.to_le_bytes();
    let [h4, h5] = [c.h4, c.h5].map(i16::cast_unsigned);
    #[allow(clippy::cast_possible_truncation)]
    let shared = [(h4 >> 4) as u8, (h4 & 0x0F) as u8 | ((h5 & 0x0F) << 4) as u8, (h5 >> 4) as u8];
    registers[0xE1..=0xE7].copy_from_slice(&[
        h2_low,
        h2_high,
        c.h3,
        shared[0],
        shared[1],
        shared[2],
        c.h6.cast_unsigned(),
    ]);
}

impl State {
    fn reset(&mut self) {
        for register in [register::CTRL_HUM, register::STATUS, register::CTRL_MEAS] {
            self.registers[usize::from(register)] = 0;
        }
        self.humidity_on = false;
        self.show(None, None, None);
        self.registers[usize::from(register::STATUS)] = register::COPYING_CALIBRATION;
        self.busy_ns = 2_000_000;
    }

    fn write(&mut self, register: u8, value: u8) {
        match register {
            register::RESET if value == register::SOFT_RESET => self.reset(),
            register::CTRL_HUM => self.registers[usize::from(register)] = value & 0b111,
            register::CTRL_MEAS => {
                self.registers[usize::from(register)] = value;
                self.humidity_on =
                    self.chip == Chip::Bme280 && self.registers[usize::from(register::CTRL_HUM)] != 0;
                if matches!(value & 0b11, 0b01 | 0b10) {
                    self.measure(value);
                }
            }
            // All other registers are read-only or not used by the driver.
            _ => {}
        }
    }

    /// One forced measurement. The data registers change when its time has passed.
    fn measure(&mut self, ctrl_meas: u8) {
        let times = |bits: u8| if bits == 0 { 0 } else { 1_u64 << (bits.min(5) - 1) };
        let temperature_times = times(ctrl_meas >> 5);
        let pressure_times = times(ctrl_meas >> 2 & 0b111);
        let humidity_times =
            if self.humidity_on { times(self.registers[usize::from(register::CTRL_HUM)]) } else { 0 };
        // Section 9.1, typical: 1 + 2 T + (2 P + 0.5) + (2 H + 0.5) milliseconds.
        let extra = |times: u64| if times == 0 { 0 } else { 2_000 * times + 500 };
        self.busy_ns =
            1_000 * (1_000 + 2_000 * temperature_times + extra(pressure_times) + extra(humidity_times));
        self.registers[usize::from(register::STATUS)] = register::MEASURING;

        if self.faults.fault() == Some(Fault::Stuck) {
            return;
        }
        let weather = self.world.weather();
        let raw_temperature = invert(20, |raw| f64::from(t_fine(raw)) / 5120.0, weather.temperature);
        let t_fine = t_fine(raw_temperature);
        // Pressure falls as its raw value rises.
        let raw_pressure = invert(20, |raw| -pressure(t_fine, raw), -weather.pressure);
        let raw_humidity = invert(16, |raw| humidity(t_fine, raw), weather.humidity);
        // Without the filter, x1 has 16 bits, x2 has 17, up to 20 (section 3.4.1).
        let coarse = |raw: u32, times: u64| raw & (0xF_FFFF << (4 - times.trailing_zeros().min(4)));
        self.show(
            (temperature_times > 0).then(|| coarse(raw_temperature, temperature_times)),
            (pressure_times > 0).then(|| coarse(raw_pressure, pressure_times)),
            (humidity_times > 0).then_some(raw_humidity),
        );
    }

    /// Writes raw values to the data registers. A skipped measurement has a value of its own (section 4.2.3).
    #[allow(clippy::cast_possible_truncation)]
    fn show(&mut self, temperature: Option<u32>, pressure: Option<u32>, humidity: Option<u32>) {
        let bits20 = |raw: u32| [(raw >> 12) as u8, (raw >> 4) as u8, (raw << 4) as u8];
        let [p1, p2, p3] = bits20(pressure.unwrap_or(0x8_0000));
        let [t1, t2, t3] = bits20(temperature.unwrap_or(0x8_0000));
        let [_, _, h1, h2] = humidity.unwrap_or(0x8000).to_be_bytes();
        let data = usize::from(register::DATA);
        self.registers[data..data + 8].copy_from_slice(&[p1, p2, p3, t1, t2, t3, h1, h2]);
    }

    fn read(&mut self, buffer: &mut [u8]) {
        let corrupt = self.faults.fault() == Some(Fault::Corrupt);
        for byte in buffer {
            // The registers that the fault corrupts. Status and id stay valid, so that the driver gets as far
            // as possible.
            *byte = match self.pointer {
                register::DATA.. | register::CALIBRATION_1..=0xA1 if corrupt => 0xFF,
                at => self.registers[usize::from(at)],
            };
            self.pointer = self.pointer.wrapping_add(1);
        }
    }

    fn pass(&mut self, ns: u64) {
        self.busy_ns = self.busy_ns.saturating_sub(ns);
        if self.busy_ns == 0 && self.faults.fault() != Some(Fault::Hung) {
            self.registers[usize::from(register::STATUS)] = 0;
            // After a forced measurement the chip returns to sleep mode.
            self.registers[usize::from(register::CTRL_MEAS)] &= !0b11;
        }
    }
}

impl ErrorType for SimI2c {
    type Error = SimI2cError;
}

impl I2c for SimI2c {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), SimI2cError> {
        let mut state = lock(&self.0);
        let fault = state.faults.fault();
        if address != state.address || fault == Some(Fault::Unplugged) {
            return Err(SimI2cError(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address)));
        }
        if fault == Some(Fault::Nack) {
            return Err(SimI2cError(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data)));
        }
        for operation in operations {
            match operation {
                // The first byte selects a register; writes are pairs of register and value (section 6.2.1).
                Operation::Write([register]) => state.pointer = *register,
                Operation::Write(bytes) => {
                    for pair in bytes.chunks_exact(2) {
                        state.write(pair[0], pair[1]);
                    }
                }
                Operation::Read(buffer) => state.read(buffer),
            }
        }
        Ok(())
    }
}

impl DelayNs for SimDelay {
    fn delay_ns(&mut self, ns: u32) {
        lock(&self.0).pass(ns.into());
    }
}

/// The raw value of `bits` bits at which the increasing function `rising` is closest to `wanted`.
fn invert(bits: u32, rising: impl Fn(u32) -> f64, wanted: f64) -> u32 {
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
    use iotpi_core::DeviceErrorKind;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        drivers::bme280::{Bme280, PRIMARY_ADDRESS},
        sim::Weather,
    };

    fn driver(chip: Chip, sim: SimBme280) -> Bme280<SimI2c, SimDelay> {
        let (i2c, delay) = sim.connect();
        Bme280::new(i2c, delay, PRIMARY_ADDRESS, chip)
    }

    fn sim_chip(chip: Chip, weather: Weather) -> SimBme280 {
        SimBme280::new(chip, PRIMARY_ADDRESS, World::still(weather))
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

            let measured = driver(Chip::Bme280, sim_chip(Chip::Bme280, weather)).measure().unwrap();

            // One step of 16 bits is 0.0051 °C and 2.6 Pa at 25 °C (section 3.4), and up to 3.7 Pa at the
            // limits of the range.
            prop_assert!((measured.temperature - temperature).abs() < 0.0065, "{measured:?}");
            prop_assert!((measured.pressure - pressure).abs() < 4.5, "{measured:?}");
            prop_assert!((measured.humidity.unwrap() - humidity).abs() < 0.03, "{measured:?}");
        }
    }

    #[test]
    fn a_bmp280_has_no_humidity() {
        let measured = driver(Chip::Bmp280, sim_chip(Chip::Bmp280, Weather::default())).measure().unwrap();

        assert_eq!(measured.humidity, None);
    }

    #[test]
    fn the_error_for_an_unexpected_chip_names_it() {
        let error = driver(Chip::Bme280, sim_chip(Chip::Bmp280, Weather::default())).measure().unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
        assert!(
            error.to_string().contains("found a BMP280") && error.to_string().contains("0x58"),
            "{error}"
        );
    }

    #[test]
    fn the_other_address_does_not_respond() {
        let (i2c, delay) = sim_chip(Chip::Bme280, Weather::default()).connect();

        let error = Bme280::new(i2c, delay, 0x77, Chip::Bme280).measure().unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
        assert!(error.to_string().contains("nothing answers at 0x77"), "{error}");
    }

    #[test]
    fn weather_outside_the_operating_range_is_an_error() {
        let hot = Weather { temperature: 92.0, ..Weather::default() };
        let high = Weather { pressure: 25_000.0, ..Weather::default() };

        for weather in [hot, high] {
            let error = driver(Chip::Bme280, sim_chip(Chip::Bme280, weather)).measure().unwrap_err();

            assert_eq!(error.kind(), DeviceErrorKind::OutOfRange);
        }
    }

    #[test]
    fn a_driver_that_does_not_wait_gets_the_busy_status() {
        /// A delay that does not advance the time of the chip.
        struct NoDelay;
        impl DelayNs for NoDelay {
            fn delay_ns(&mut self, _ns: u32) {}
        }
        let (i2c, _delay) = sim_chip(Chip::Bme280, Weather::default()).connect();

        let error = Bme280::new(i2c, NoDelay, PRIMARY_ADDRESS, Chip::Bme280).measure().unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::Timeout);
    }

    /// A bus with an adapter that does not report which byte was not acknowledged, as the adapter of the Pi.
    struct AmbiguousNack(SimI2c, FaultSwitch);

    impl ErrorType for AmbiguousNack {
        type Error = SimI2cError;
    }

    impl I2c for AmbiguousNack {
        fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), SimI2cError> {
            match self.1.fault() {
                Some(_) => Err(SimI2cError(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown))),
                None => self.0.transaction(address, operations),
            }
        }
    }

    #[test]
    fn without_an_error_code_a_chip_that_stops_responding_is_a_bus_error_and_then_not_found() {
        let (i2c, delay) = sim_chip(Chip::Bme280, Weather::default()).connect();
        let silence = FaultSwitch::default();
        let mut driver =
            Bme280::new(AmbiguousNack(i2c, silence.clone()), delay, PRIMARY_ADDRESS, Chip::Bme280);
        driver.measure().unwrap();

        silence.begin(Fault::Unplugged);
        let kinds = [driver.measure(), driver.measure()].map(|m| m.unwrap_err().kind());
        silence.end();

        assert_eq!(kinds, [DeviceErrorKind::Bus, DeviceErrorKind::NotFound]);
        assert!(driver.measure().is_ok());
    }
}
