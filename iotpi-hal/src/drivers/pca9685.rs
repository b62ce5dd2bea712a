//! NXP PCA9685: 16 PWM outputs of 12 bits on I2C, for LED strips, fans and servos.
//!
//! # Wiring
//! VCC to 3.3 V, GND to ground, SDA to BCM 2, SCL to BCM 3, V+ to the supply of the loads. Address `0x40`, up to
//! `0x7F` by six jumpers; `0x70` is an address that all chips have in common. Connect OE to a pin with a pull-up
//! resistor to have the outputs off while the Pi boots.
//!
//! # Datasheet
//! Revision 4: sections 7.3.1 (MODE1, sleep), 7.3.3 (on and off counts, full off), 7.3.4 (all outputs), 7.3.5
//! (prescaler; only writable in sleep mode). The oscillator needs 500 µs to start. All outputs have one frequency.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no device answers` | wiring, or another address: `i2cdetect -y 1` |
//! | `not found: ... is no PCA9685` | another chip has this address, for example an INA219 |
//! | outputs go off by themselves | the supply of the chip breaks down: it starts again with the next action |

use std::sync::{Arc, Mutex, PoisonError};

use embedded_hal::{delay::DelayNs, i2c::I2c};
use iotpi_core::{Action, ActionSpec, Actuator, DeviceError, DeviceErrorKind, async_trait};
use serde_json::{Map, Value, json};

use super::params::{Params, action, refused, unknown};
use crate::drivers::I2cRegisters;

/// The lowest I2C address: no jumper closed.
pub const FIRST_ADDRESS: u8 = 0x40;
/// The highest I2C address.
pub const LAST_ADDRESS: u8 = 0x7F;
/// The number of outputs.
pub const OUTPUTS: u8 = 16;

/// The registers the driver uses (table 4).
pub(crate) mod register {
    pub const MODE1: u8 = 0x00;
    pub const FIRST_OUTPUT: u8 = 0x06;
    pub const ALL_OUTPUTS: u8 = 0xFA;
    pub const PRESCALER: u8 = 0xFE;

    pub const AUTO_INCREMENT: u8 = 1 << 5;
    pub const SLEEP: u8 = 1 << 4;
    /// Flag of the high byte of a count: the output is always on, or always off.
    pub const FULL: u8 = 1 << 4;
}

const OSCILLATOR_HZ: f64 = 25e6;
const STEPS: u16 = 4096;
const OSCILLATOR_START_MICROS: u32 = 500;
const SET: &str = "set";

/// The chip itself, which blocks its thread during a transfer.
#[derive(Debug)]
struct Chip<I, D> {
    registers: I2cRegisters<I>,
    delay: D,
    prescaler: u8,
}

impl<I: I2c, D: DelayNs> Chip<I, D> {
    /// Starts the oscillator, unless it runs with this frequency. All outputs are off then.
    fn start(&mut self) -> Result<(), DeviceError> {
        let [mode] = self.registers.read(register::MODE1)?;
        let [prescaler] = self.registers.read(register::PRESCALER)?;
        if mode == register::AUTO_INCREMENT && prescaler == self.prescaler {
            return Ok(());
        }
        self.registers.write(register::MODE1, [register::AUTO_INCREMENT | register::SLEEP])?;
        self.registers.write(register::PRESCALER, [self.prescaler])?;
        self.all_off()?;
        self.registers.write(register::MODE1, [register::AUTO_INCREMENT])?;
        self.delay.delay_us(OSCILLATOR_START_MICROS);
        let read: [u8; 1] = self.registers.read(register::PRESCALER)?;
        if read != [self.prescaler] {
            let text = format!("the chip at {:#04x} is no PCA9685", self.registers.address());
            return Err(DeviceError::new(DeviceErrorKind::NotFound, text));
        }
        Ok(())
    }

    /// Sets an output to a share of the time, 0 to 1.
    fn set(&mut self, output: u8, share: f64) -> Result<(), DeviceError> {
        self.start()?;
        self.registers.write(register::FIRST_OUTPUT + 4 * output, counts(share))
    }

    fn all_off(&mut self) -> Result<(), DeviceError> {
        self.registers.write(register::ALL_OUTPUTS, counts(0.0))
    }
}

/// The counts at which an output goes on and off, low bytes first.
fn counts(share: f64) -> [u8; 4] {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let steps = (share * f64::from(STEPS)).round() as u16;
    match steps {
        0 => [0, 0, 0, register::FULL],
        STEPS.. => [0, register::FULL, 0, 0],
        _ => {
            let [low, high] = steps.to_le_bytes();
            [0, 0, low, high]
        }
    }
}

/// The prescaler of a frequency (equation 1), from 24 to 1,526 Hz.
fn prescaler(frequency_hz: f64) -> Result<u8, DeviceError> {
    if !(24.0..=1526.0).contains(&frequency_hz) {
        return Err(refused("the frequency of a PCA9685 is 24 to 1526 Hz"));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let prescaler =
        ((OSCILLATOR_HZ / (f64::from(STEPS) * frequency_hz)).round() - 1.0).clamp(3.0, 255.0) as u8;
    Ok(prescaler)
}

/// Named outputs of a PCA9685, each with a duty cycle in per cent. It does not access the chip before the first
/// action.
///
/// Transfers run on tokio's pool of blocking threads: a bus that hangs does not stop other devices.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::pca9685::{FIRST_ADDRESS, Pca9685}, sim::{self, SimI2c}};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let bus = SimI2c::new().with_chip(FIRST_ADDRESS, sim::pca9685());
/// let outputs = [("fan".to_owned(), 0), ("strip".to_owned(), 15)];
/// let mut pwm = Pca9685::new(bus.clone(), bus.delay(), FIRST_ADDRESS, 200.0, outputs)?;
/// pwm.set("strip", 40.0).await?;
/// # Ok::<(), iotpi_core::DeviceError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Pca9685<I, D> {
    chip: Arc<Mutex<Chip<I, D>>>,
    /// Name, number, and per cent.
    outputs: Vec<(String, u8, f64)>,
}

impl<I, D> Pca9685<I, D>
where
    I: I2c + Send + 'static,
    D: DelayNs + Send + 'static,
{
    /// Outputs with their names and numbers, 0 to 15, and the frequency of all of them, 24 to 1,526 Hz.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Refused`] when the frequency or a number is out of range, or a name or a number is used
    /// twice.
    pub fn new(
        i2c: I,
        delay: D,
        address: u8,
        frequency_hz: f64,
        outputs: impl IntoIterator<Item = (String, u8)>,
    ) -> Result<Self, DeviceError> {
        let outputs: Vec<_> = outputs.into_iter().map(|(name, number)| (name, number, 0.0)).collect();
        for (index, (name, number, _)) in outputs.iter().enumerate() {
            if *number >= OUTPUTS {
                return Err(refused(format!("there is no output {number}: they are 0 to 15")));
            }
            if outputs[..index].iter().any(|(other, used, _)| other == name || used == number) {
                return Err(refused(format!("output `{name}` or number {number} is used twice")));
            }
        }
        let prescaler = prescaler(frequency_hz)?;
        let chip = Chip { registers: I2cRegisters::new(i2c, address), delay, prescaler };
        Ok(Self { chip: Arc::new(Mutex::new(chip)), outputs })
    }

    /// Sets an output to a duty cycle in per cent, 0 to 100.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Refused`] when there is no output of this name, or for another duty cycle; otherwise the
    /// errors of the bus.
    ///
    /// # Cancel safety
    /// After a cancelled call the output may have either value.
    pub async fn set(&mut self, name: &str, percent: f64) -> Result<(), DeviceError> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(refused("the duty cycle is 0 to 100"));
        }
        let Some(index) = self.outputs.iter().position(|(known, ..)| known == name) else {
            return Err(refused(format!("there is no output `{name}`")));
        };
        let number = self.outputs[index].1;
        self.run(move |chip| chip.set(number, percent / 100.0)).await?;
        self.outputs[index].2 = percent;
        Ok(())
    }

    /// Runs a function on a blocking thread, after one that is still running.
    async fn run(
        &self,
        function: impl FnOnce(&mut Chip<I, D>) -> Result<(), DeviceError> + Send + 'static,
    ) -> Result<(), DeviceError> {
        let chip = self.chip.clone();
        let run = move || function(&mut chip.lock().unwrap_or_else(PoisonError::into_inner));
        let panicked = |_| Err(DeviceError::new(DeviceErrorKind::Other, "the driver panicked"));
        tokio::task::spawn_blocking(run).await.unwrap_or_else(panicked)
    }

    fn duties(&self) -> Map<String, Value> {
        self.outputs.iter().map(|(name, _, percent)| (name.clone(), (*percent).into())).collect()
    }
}

#[async_trait]
impl<I, D> Actuator for Pca9685<I, D>
where
    I: I2c + Send + 'static,
    D: DelayNs + Send + 'static,
{
    fn actions(&self) -> Vec<ActionSpec> {
        let names: Vec<_> = self.outputs.iter().map(|(name, ..)| name).collect();
        let params = json!({
            "type": "object",
            "properties": {
                "output": {"type": "string", "title": "Output", "enum": names, "default": names.first()},
                "duty": {"type": "number", "title": "Duty cycle (%)", "minimum": 0, "maximum": 100},
            },
            "required": ["duty"],
            "additionalProperties": false,
        });
        vec![action(SET, "Sets the duty cycle of an output", params).absolute_for("output")]
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        let params = Params(&action.params);
        if action.name.as_str() != SET {
            return Err(unknown(&action.name, "the action is `set`"));
        }
        params.only(&["output", "duty"])?;
        let duty = Params::required(params.number("duty", 0.0, 100.0)?, "duty")?;
        let first = self.outputs.first().map_or(String::new(), |(name, ..)| name.clone());
        self.set(params.text("output")?.unwrap_or(&first), duty).await?;
        Ok(Value::Object(self.duties()))
    }

    /// Switches all outputs of the chip off.
    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.run(Chip::all_off).await?;
        self.outputs.iter_mut().for_each(|(_, _, percent)| *percent = 0.0);
        Ok(())
    }

    fn state(&self) -> Map<String, Value> {
        self.duties()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prescaler_is_the_example_of_the_datasheet() {
        // Section 7.3.5: 200 Hz needs 0x1E; table 5: 1,526 Hz is 3, 24 Hz is 255.
        assert_eq!(prescaler(200.0).unwrap(), 0x1E);
        assert_eq!([prescaler(1526.0).unwrap(), prescaler(24.0).unwrap()], [0x03, 0xFD]);
        assert!(prescaler(1527.0).is_err() && prescaler(f64::NAN).is_err());
    }

    #[test]
    fn the_counts_have_the_flags_for_always_on_and_always_off() {
        assert_eq!(counts(0.0), [0, 0, 0, 0x10]);
        assert_eq!(counts(0.5), [0, 0, 0x00, 0x08]);
        assert_eq!(counts(1.0), [0, 0x10, 0, 0]);
    }

    #[cfg(feature = "sim")]
    mod on_a_simulated_chip {
        use super::*;
        use crate::{
            sim::{self, SimDelay, SimI2c},
            testing::check_actuator,
        };

        fn chip() -> (SimI2c, Pca9685<SimI2c, SimDelay>) {
            let bus = SimI2c::new().with_chip(FIRST_ADDRESS, sim::pca9685());
            let outputs = [("fan".to_owned(), 0), ("strip".to_owned(), 15)];
            (bus.clone(), Pca9685::new(bus.clone(), bus.delay(), FIRST_ADDRESS, 200.0, outputs).unwrap())
        }

        fn registers(bus: &SimI2c, output: u8) -> [u8; 4] {
            let mut bytes = [0; 4];
            bus.clone()
                .write_read(FIRST_ADDRESS, &[register::FIRST_OUTPUT + 4 * output], &mut bytes)
                .unwrap();
            bytes
        }

        #[tokio::test(start_paused = true)]
        async fn outputs_fulfil_the_contract_of_actuators() {
            let (bus, mut pwm) = chip();

            let params = json!({"output": "strip", "duty": 12.5});
            let is_safe = || registers(&bus, 15) == [0, 0, 0, 0x10];
            check_actuator(&mut pwm, bus.faults(), "set", params, is_safe).await;
        }

        #[tokio::test(start_paused = true)]
        async fn an_output_has_its_duty_cycle_and_the_chip_its_frequency() {
            let (bus, mut pwm) = chip();

            pwm.set("strip", 25.0).await.unwrap();
            pwm.set("fan", 100.0).await.unwrap();

            assert_eq!(registers(&bus, 15), [0, 0, 0x00, 0x04]);
            assert_eq!(registers(&bus, 0), [0, 0x10, 0, 0]);
            assert_eq!(pwm.state(), json!({"fan": 100.0, "strip": 25.0}).as_object().unwrap().clone());
        }

        #[tokio::test(start_paused = true)]
        async fn a_chip_that_was_reset_is_started_again() {
            let (bus, mut pwm) = chip();
            pwm.set("strip", 25.0).await.unwrap();

            let bus = bus.with_chip(FIRST_ADDRESS, sim::pca9685());
            pwm.set("fan", 50.0).await.unwrap();

            let mut mode = [0];
            bus.clone().write_read(FIRST_ADDRESS, &[register::MODE1], &mut mode).unwrap();
            assert_eq!((mode[0] & register::SLEEP, registers(&bus, 0)), (0, [0, 0, 0, 0x08]));
        }

        #[test]
        fn wrong_outputs_are_refused() {
            let (bus, _) = chip();
            let new = |outputs: [(&str, u8); 2]| {
                let outputs = outputs.map(|(name, number)| (name.to_owned(), number));
                Pca9685::new(bus.clone(), bus.delay(), FIRST_ADDRESS, 200.0, outputs).map(|_| ()).unwrap_err()
            };

            assert!(new([("fan", 0), ("strip", 16)]).to_string().contains("there is no output 16"));
            assert!(new([("fan", 0), ("strip", 0)]).to_string().contains("twice"));
            assert!(new([("fan", 0), ("fan", 1)]).to_string().contains("twice"));
        }
    }
}
