//! The back end rppal: memory-mapped access to the peripherals of a Raspberry Pi.
//!
//! It is faster than the character devices, and its software PWM has less jitter. rppal is no longer
//! maintained (last release: December 2024), and each new board needs a change to it: new systems use
//! [`linux`](super).
//!
//! ```no_run
//! use iotpi_hal::{bus::pi, drivers::led::Led};
//!
//! let lamp = Led::new(pi::output(17)?);
//! let dimmer = Led::new(pi::pwm(0)?);
//! # Ok::<(), iotpi_core::DeviceError>(())
//! ```

use std::{convert::Infallible, path::Path, time::Duration};

use embedded_hal::{
    digital::{self, InputPin},
    i2c::{self, ErrorKind, I2c, NoAcknowledgeSource, Operation},
    pwm::{self, SetDutyCycle},
};
use iotpi_core::{DeviceError, DeviceErrorKind, async_trait};
use rppal::{
    gpio::{self, Gpio, OutputPin, Trigger},
    pwm::{Channel, Polarity, Pwm},
};

use super::{
    Edge, EdgeInput, EdgeQueue, Pull,
    error_hints::{DeviceFile, errno, open_error},
};

const LAMP_HZ: f64 = 200.0;
const HARDWARE_HZ: f64 = 1000.0;
const MAX_DUTY: u16 = 10_000;

/// Opens an I2C bus by the path of its device file, `/dev/i2c-1`.
///
/// # Errors
/// [`DeviceErrorKind::NotFound`] when I2C is off or the path is not an I2C bus,
/// [`DeviceErrorKind::PermissionDenied`] when the user is not in group `i2c`.
pub fn i2c(path: &Path) -> Result<PiI2c, DeviceError> {
    let what = path.display().to_string();
    let bus = what.strip_prefix("/dev/i2c-").and_then(|number| number.parse().ok()).ok_or_else(|| {
        DeviceError::new(
            DeviceErrorKind::NotFound,
            format!("{what} is no I2C bus: it should look like /dev/i2c-1"),
        )
    })?;
    rppal::i2c::I2c::with_bus(bus).map(PiI2c).map_err(|e| match e {
        rppal::i2c::Error::UnknownModel => no_pi(e),
        e => open_error(DeviceFile::I2c, &what, i2c_errno(&e), e),
    })
}

/// An I2C bus opened through rppal.
#[derive(Debug)]
pub struct PiI2c(rppal::i2c::I2c);

/// An error of the I2C bus.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PiI2cError(rppal::i2c::Error);

fn i2c_errno(error: &rppal::i2c::Error) -> Option<i32> {
    match error {
        rppal::i2c::Error::Io(error) => error.raw_os_error(),
        _ => None,
    }
}

impl i2c::Error for PiI2cError {
    fn kind(&self) -> ErrorKind {
        match i2c_errno(&self.0) {
            Some(errno::EREMOTEIO | errno::ENXIO | errno::ENODEV) => {
                ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown)
            }
            Some(errno::ETIMEDOUT) => ErrorKind::Bus,
            _ => i2c::Error::kind(&self.0),
        }
    }
}

impl i2c::ErrorType for PiI2c {
    type Error = PiI2cError;
}

impl I2c for PiI2c {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), PiI2cError> {
        // rppal's own `transaction` ends the transfer between write and read. The chips need one combined
        // transfer.
        if let [Operation::Write(write), Operation::Read(read)] = operations {
            self.0.set_slave_address(address.into()).map_err(PiI2cError)?;
            return self.0.write_read(write, read).map_err(PiI2cError);
        }
        I2c::transaction(&mut self.0, address, operations).map_err(PiI2cError)
    }
}

/// Opens a pin as an input.
///
/// # Errors
/// [`DeviceErrorKind::NotFound`] when this is not a Raspberry Pi or the pin does not exist,
/// [`DeviceErrorKind::PermissionDenied`] when the user is not in group `gpio`, [`DeviceErrorKind::Bus`] when
/// this program already uses the pin.
pub fn input(pin: u8, pull: Pull) -> Result<PiInput, DeviceError> {
    take(pin).map(|pin| PiInput(pulled(pin, pull)))
}

fn pulled(pin: gpio::Pin, pull: Pull) -> gpio::InputPin {
    match pull {
        Pull::None => pin.into_input(),
        Pull::Up => pin.into_input_pullup(),
        Pull::Down => pin.into_input_pulldown(),
    }
}

/// Opens a pin as an input whose edges are recorded, up to 1,024 of them. A thread of rppal takes them from the
/// kernel, which debounces the pin.
///
/// # Errors
/// The same as those of [`input`].
pub fn edges(pin: u8, pull: Pull, debounce: Duration) -> Result<PiEdges, DeviceError> {
    let mut input = pulled(take(pin)?, pull);
    let (queue, debounce) = (EdgeQueue::default(), (!debounce.is_zero()).then_some(debounce));
    let recorded = queue.clone();
    let mut taken = 0;
    input
        .set_async_interrupt(Trigger::Both, debounce, move |event| {
            let lost = event.seqno.wrapping_sub(taken).saturating_sub(1);
            taken = event.seqno;
            recorded.push(event.trigger == Trigger::RisingEdge, event.timestamp, lost);
        })
        .map_err(|e| gpio_error(pin, e))?;
    Ok(PiEdges { pin: input, queue })
}

/// An input pin whose edges are recorded.
#[derive(Debug)]
pub struct PiEdges {
    pin: gpio::InputPin,
    queue: EdgeQueue,
}

#[async_trait]
impl EdgeInput for PiEdges {
    fn is_high(&mut self) -> Result<bool, DeviceError> {
        Ok(self.pin.is_high())
    }

    fn next_edge(&mut self) -> Result<Option<Edge>, DeviceError> {
        Ok(self.queue.pop())
    }

    async fn wait_for_edge(&mut self) {
        while self.queue.is_empty() {
            self.queue.pushed().await;
        }
    }
}

/// An input pin.
#[derive(Debug)]
pub struct PiInput(gpio::InputPin);

impl digital::ErrorType for PiInput {
    type Error = Infallible;
}

impl InputPin for PiInput {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(gpio::InputPin::is_high(&self.0))
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        Ok(gpio::InputPin::is_low(&self.0))
    }
}

/// Opens a pin as an output with software PWM at 200 Hz.
///
/// # Errors
/// The same as those of [`input`].
pub fn output(pin: u8) -> Result<PiPin, DeviceError> {
    soft_pwm(pin, LAMP_HZ)
}

/// Opens a pin as an output with software PWM at this frequency in hertz: 50 for a servo.
///
/// # Errors
/// The same as those of [`input`].
pub fn soft_pwm(pin: u8, frequency_hz: f64) -> Result<PiPin, DeviceError> {
    Ok(PiPin { pin: take(pin)?.into_output_low(), frequency_hz })
}

/// Opens a pin as a digital output that has this level first.
///
/// # Errors
/// The same as those of [`input`].
pub fn output_at(pin: u8, is_high: bool) -> Result<PiOutput, DeviceError> {
    let pin = take(pin)?;
    let mut output = if is_high { pin.into_output_high() } else { pin.into_output_low() };
    // rppal makes the pin an input when it is dropped. The level is kept, as with the character devices.
    output.set_reset_on_drop(false);
    Ok(PiOutput(output))
}

/// A digital output pin.
#[derive(Debug)]
pub struct PiOutput(OutputPin);

impl digital::ErrorType for PiOutput {
    type Error = Infallible;
}

impl digital::OutputPin for PiOutput {
    fn set_low(&mut self) -> Result<(), Infallible> {
        OutputPin::set_low(&mut self.0);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        OutputPin::set_high(&mut self.0);
        Ok(())
    }
}

fn take(pin: u8) -> Result<gpio::Pin, DeviceError> {
    Gpio::new().and_then(|gpio| gpio.get(pin)).map_err(|e| gpio_error(pin, e))
}

fn gpio_error(pin: u8, error: gpio::Error) -> DeviceError {
    let number = match &error {
        gpio::Error::Io(error) => error.raw_os_error(),
        gpio::Error::PermissionDenied(_) => Some(errno::EACCES),
        gpio::Error::PinUsed(_) => Some(errno::EBUSY),
        gpio::Error::PinNotAvailable(_) => Some(errno::EINVAL),
        gpio::Error::UnknownModel => return no_pi(error),
        gpio::Error::ThreadPanic => None,
    };
    open_error(DeviceFile::Gpio, &format!("pin {pin}"), number, error)
}

fn no_pi(error: impl std::error::Error + Send + Sync + 'static) -> DeviceError {
    DeviceError::new(DeviceErrorKind::NotFound, "this is no Raspberry Pi that rppal knows: use bus `linux`")
        .with_source(error)
}

/// An output pin with software PWM.
#[derive(Debug)]
pub struct PiPin {
    pin: OutputPin,
    frequency_hz: f64,
}

/// The pin could not be set.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PiPinError(gpio::Error);

impl pwm::Error for PiPinError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

impl pwm::ErrorType for PiPin {
    type Error = PiPinError;
}

impl SetDutyCycle for PiPin {
    fn max_duty_cycle(&self) -> u16 {
        MAX_DUTY
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), PiPinError> {
        // At 0 % and 100 % rppal needs no PWM thread.
        match duty {
            0 | MAX_DUTY.. => {
                self.pin.clear_pwm().map_err(PiPinError)?;
                if duty == 0 { self.pin.set_low() } else { self.pin.set_high() }
            }
            _ => {
                let share = f64::from(duty) / f64::from(MAX_DUTY);
                self.pin.set_pwm_frequency(self.frequency_hz, share).map_err(PiPinError)?;
            }
        }
        Ok(())
    }
}

/// Opens a hardware PWM channel: 0 (BCM 12 or 18), 1 (BCM 13 or 19); up to 3 on a Pi 5.
///
/// # Errors
/// [`DeviceErrorKind::NotFound`] when the overlay or the channel is missing,
/// [`DeviceErrorKind::PermissionDenied`] when the user is not in group `gpio`.
pub fn pwm(channel: u8) -> Result<PiPwm, DeviceError> {
    pwm_at(channel, HARDWARE_HZ)
}

/// Opens a hardware PWM channel with this frequency in hertz: 50 for a servo.
///
/// # Errors
/// The same as those of [`pwm()`].
pub fn pwm_at(channel: u8, frequency_hz: f64) -> Result<PiPwm, DeviceError> {
    let what = format!("PWM channel {channel}");
    let channel = match channel {
        0 => Channel::Pwm0,
        1 => Channel::Pwm1,
        2 => Channel::Pwm2,
        3 => Channel::Pwm3,
        _ => return Err(DeviceError::new(DeviceErrorKind::NotFound, format!("{what} does not exist"))),
    };
    Pwm::with_frequency(channel, frequency_hz, 0.0, Polarity::Normal, true).map(PiPwm).map_err(|e| {
        let number = match &e {
            rppal::pwm::Error::Io(error) => error.raw_os_error(),
            rppal::pwm::Error::InvalidChannel => Some(errno::EINVAL),
            rppal::pwm::Error::UnknownModel => return no_pi(e),
        };
        open_error(DeviceFile::Pwm, &what, number, e)
    })
}

/// A hardware PWM channel of the processor.
#[derive(Debug)]
pub struct PiPwm(Pwm);

/// The PWM channel could not be set.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PiPwmError(rppal::pwm::Error);

impl pwm::Error for PiPwmError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

impl pwm::ErrorType for PiPwm {
    type Error = PiPwmError;
}

impl SetDutyCycle for PiPwm {
    fn max_duty_cycle(&self) -> u16 {
        MAX_DUTY
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), PiPwmError> {
        self.0.set_duty_cycle(f64::from(duty.min(MAX_DUTY)) / f64::from(MAX_DUTY)).map_err(PiPwmError)
    }
}
