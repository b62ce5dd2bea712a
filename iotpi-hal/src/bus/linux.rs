//! Linux character devices: `/dev/i2c-*` through `linux-embedded-hal`, `/dev/gpiochip*` through `gpiocdev`.
//!
//! This is the long-term back end: it needs only the kernel and works on any board.
//!
//! ```no_run
//! use iotpi_hal::bus::{Pull, SystemDelay, linux};
//! use iotpi_hal::drivers::{bme280::{Bme280, Chip, PRIMARY_ADDRESS}, led::Led};
//!
//! let i2c = linux::i2c("/dev/i2c-1".as_ref())?;
//! let sensor = Bme280::new(i2c, SystemDelay, PRIMARY_ADDRESS, Chip::Bme280);
//!
//! let lamp = Led::new(iotpi_hal::bus::SoftPwm::new(linux::output(None, 17)?));
//! let button = linux::input(None, 23, Pull::Up)?;
//! # Ok::<(), iotpi_core::DeviceError>(())
//! ```

use std::{
    fmt,
    future::pending,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use embedded_hal::{
    digital::{self, InputPin, OutputPin},
    i2c::{self, ErrorKind, I2c, NoAcknowledgeSource, Operation},
};
use gpiocdev::{
    Chip, Request,
    line::{Bias, EdgeDetection, EdgeKind, Value},
    request::Builder,
};
use iotpi_core::{DeviceError, DeviceErrorKind, async_trait};
use linux_embedded_hal::{I2CError, I2cdev, i2cdev::linux::LinuxI2CError};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    Edge, EdgeInput, Pull,
    edges::MAX_EDGES,
    error_hints::{DeviceFile, errno, open_error},
};

/// Labels of the GPIO chips that drive the 40-pin header: Pi 4, Pi 5, Pi 3 and older.
const HEADER_LABELS: [&str; 3] = ["pinctrl-bcm2711", "pinctrl-rp1", "pinctrl-bcm2835"];
/// The consumer of a line as `gpioinfo` shows it.
const CONSUMER: &str = "iotpi";

/// Opens an I2C bus, such as `/dev/i2c-1`.
///
/// # Errors
/// [`DeviceErrorKind::NotFound`] when I2C is off, [`DeviceErrorKind::PermissionDenied`] when the user is not
/// in group `i2c`.
pub fn i2c(path: &Path) -> Result<LinuxI2c, DeviceError> {
    I2cdev::new(path).map(LinuxI2c).map_err(|e| {
        let number = i2c_errno(&e);
        open_error(DeviceFile::I2c, &path.display().to_string(), number, e)
    })
}

/// An I2C bus opened through its character device.
pub struct LinuxI2c(I2cdev);

impl fmt::Debug for LinuxI2c {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinuxI2c").finish_non_exhaustive()
    }
}

/// An error of the I2C bus.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LinuxI2cError(I2CError);

fn i2c_errno(error: &LinuxI2CError) -> Option<i32> {
    match error {
        LinuxI2CError::Errno(number) => Some(*number),
        LinuxI2CError::Io(error) => error.raw_os_error(),
    }
}

impl i2c::Error for LinuxI2cError {
    fn kind(&self) -> ErrorKind {
        match i2c_errno(self.0.inner()) {
            // The errors of the Pi's own adapter (i2c-bcm2835) for a missing acknowledge; linux-embedded-hal
            // maps them to `Other`.
            Some(errno::EREMOTEIO | errno::ENXIO | errno::ENODEV) => {
                ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown)
            }
            // A device holds the clock line low.
            Some(errno::ETIMEDOUT) => ErrorKind::Bus,
            _ => i2c::Error::kind(&self.0),
        }
    }
}

impl i2c::ErrorType for LinuxI2c {
    type Error = LinuxI2cError;
}

impl I2c for LinuxI2c {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), LinuxI2cError> {
        I2c::<u8>::transaction(&mut self.0, address, operations).map_err(LinuxI2cError)
    }
}

/// Requests a pin of the header as an output that is low first. `chip` is the path of the GPIO chip, for boards
/// whose chip is not found by its label.
///
/// # Errors
/// [`DeviceErrorKind::NotFound`] when the chip or pin does not exist, [`DeviceErrorKind::PermissionDenied`]
/// when the user is not in group `gpio`, [`DeviceErrorKind::Bus`] when another program uses the pin.
pub fn output(chip: Option<&Path>, pin: u8) -> Result<LinuxPin, DeviceError> {
    output_at(chip, pin, false)
}

/// Requests a pin of the header as an output that has this level first: a relay that is on while its pin is low
/// must never be low before it is switched on.
///
/// # Errors
/// The same as those of [`output`].
pub fn output_at(chip: Option<&Path>, pin: u8, is_high: bool) -> Result<LinuxPin, DeviceError> {
    let value = if is_high { Value::Active } else { Value::Inactive };
    take(chip, pin, |request| request.as_output(value)).map(LinuxPin)
}

/// Requests a pin of the header as an input.
///
/// # Errors
/// The same as those of [`output`].
pub fn input(chip: Option<&Path>, pin: u8, pull: Pull) -> Result<LinuxPin, DeviceError> {
    take(chip, pin, |request| request.as_input().with_bias(bias(pull))).map(LinuxPin)
}

/// Requests a pin of the header as an input whose edges the kernel records (`GPIO_V2_LINE_FLAG_EDGE_RISING` and
/// `_FALLING` of `linux/gpio.h`), up to 1,024 of them. The kernel debounces the pin, in hardware where it can.
/// Waiting for an edge needs a tokio runtime with its I/O driver.
///
/// # Errors
/// The same as those of [`output`].
pub fn edges(
    chip: Option<&Path>,
    pin: u8,
    pull: Pull,
    debounce: Duration,
) -> Result<LinuxEdges, DeviceError> {
    let request = take(chip, pin, |request| {
        request
            .as_input()
            .with_bias(bias(pull))
            .with_edge_detection(EdgeDetection::BothEdges)
            .with_debounce_period(debounce)
            .with_kernel_event_buffer_size(MAX_EDGES as u32)
    })?;
    Ok(LinuxEdges { request: Arc::new(request), readiness: None, taken: 0 })
}

fn bias(pull: Pull) -> Bias {
    match pull {
        Pull::None => Bias::Disabled,
        Pull::Up => Bias::PullUp,
        Pull::Down => Bias::PullDown,
    }
}

fn take(
    chip: Option<&Path>,
    pin: u8,
    direct: impl FnOnce(&mut Builder) -> &mut Builder,
) -> Result<Request, DeviceError> {
    let chip = chip.map_or_else(header_chip, |path| Ok(path.to_owned()))?;
    let mut request = Request::builder();
    request.on_chip(&chip).with_consumer(CONSUMER).with_line(pin.into());
    direct(&mut request).request().map_err(|e| {
        let number = gpio_errno(&e).or_else(|| line_errno(&chip, pin));
        open_error(DeviceFile::Gpio, &format!("pin {pin} of {}", chip.display()), number, e)
    })
}

/// Finds the GPIO chip that drives the header.
fn header_chip() -> Result<PathBuf, DeviceError> {
    let failed = |e: gpiocdev::Error| {
        let number = gpio_errno(&e);
        open_error(DeviceFile::Gpio, "/dev/gpiochip*", number, e)
    };
    let mut labels = Vec::new();
    for path in gpiocdev::chip::chips().map_err(failed)? {
        let info = Chip::from_path(&path).and_then(|chip| chip.info()).map_err(failed)?;
        if HEADER_LABELS.contains(&info.label.as_str()) {
            return Ok(path);
        }
        labels.push(info.label);
    }
    Err(DeviceError::new(
        DeviceErrorKind::NotFound,
        match labels.as_slice() {
            [] => "this machine has no GPIO chip".to_owned(),
            some => {
                format!("no GPIO chip of a Raspberry Pi among {}: name one by its path", some.join(", "))
            }
        },
    ))
}

fn gpio_errno(error: &gpiocdev::Error) -> Option<i32> {
    match error {
        gpiocdev::Error::Os(number) => Some(number.0),
        gpiocdev::Error::NoGpioChips() => Some(errno::ENOENT),
        _ => None,
    }
}

/// The kernel's error number for a refused line request. The error of gpiocdev does not contain it.
fn line_errno(chip: &Path, pin: u8) -> Option<i32> {
    let chip = Chip::from_path(chip).ok()?;
    match chip.line_info(pin.into()) {
        Err(_) => Some(errno::EINVAL),
        Ok(line) => line.used.then_some(errno::EBUSY),
    }
}

/// A pin of the header, requested from the kernel.
#[derive(Debug)]
pub struct LinuxPin(Request);

/// The kernel could not set or read a pin.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LinuxPinError(gpiocdev::Error);

impl digital::Error for LinuxPinError {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}

impl digital::ErrorType for LinuxPin {
    type Error = LinuxPinError;
}

impl OutputPin for LinuxPin {
    fn set_low(&mut self) -> Result<(), LinuxPinError> {
        self.0.set_lone_value(Value::Inactive).map_err(LinuxPinError)
    }

    fn set_high(&mut self) -> Result<(), LinuxPinError> {
        self.0.set_lone_value(Value::Active).map_err(LinuxPinError)
    }
}

impl InputPin for LinuxPin {
    fn is_high(&mut self) -> Result<bool, LinuxPinError> {
        Ok(self.0.lone_value().map_err(LinuxPinError)? == Value::Active)
    }

    fn is_low(&mut self) -> Result<bool, LinuxPinError> {
        Ok(!self.is_high()?)
    }
}

/// An input pin of the header whose edges the kernel records.
#[derive(Debug)]
pub struct LinuxEdges {
    request: Arc<Request>,
    /// Registered with the runtime at the first wait.
    readiness: Option<AsyncFd<Arc<Request>>>,
    /// The kernel's number of the edge that was last taken; the first one has number 1.
    taken: u32,
}

impl LinuxEdges {
    fn has_edge(&self) -> Result<bool, DeviceError> {
        self.request.has_edge_event().map_err(|e| DeviceError::pin(&e))
    }

    /// Waits until the kernel reports that the request is readable.
    // The constructor that is not deprecated is unsafe: the descriptor must not change or close while it is
    // registered. That of a request is private and stays open as long as the `Arc` in the registration.
    #[allow(deprecated)]
    async fn readable(&mut self) -> std::io::Result<()> {
        let readiness = match self.readiness.take() {
            Some(registered) => registered,
            None => AsyncFd::with_interest(self.request.clone(), Interest::READABLE)?,
        };
        let mut guard = self.readiness.insert(readiness).readable().await?;
        if !self.request.has_edge_event().unwrap_or(false) {
            guard.clear_ready();
        }
        Ok(())
    }
}

#[async_trait]
impl EdgeInput for LinuxEdges {
    fn is_high(&mut self) -> Result<bool, DeviceError> {
        let value = self.request.lone_value().map_err(|e| DeviceError::pin(&e))?;
        Ok(value == Value::Active)
    }

    fn next_edge(&mut self) -> Result<Option<Edge>, DeviceError> {
        if !self.has_edge()? {
            return Ok(None);
        }
        let event = self.request.read_edge_event().map_err(|e| DeviceError::pin(&e))?;
        let lost = event.line_seqno.wrapping_sub(self.taken).saturating_sub(1);
        self.taken = event.line_seqno;
        let at = Duration::from_nanos(event.timestamp_ns);
        Ok(Some(Edge { is_high: event.kind == EdgeKind::Rising, at, lost }))
    }

    async fn wait_for_edge(&mut self) {
        while let Ok(false) = self.has_edge() {
            if self.readable().await.is_err() {
                pending::<()>().await;
            }
        }
        if self.has_edge().is_err() {
            pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_a_missing_bus_says_how_to_enable_it() {
        let error = i2c(Path::new("/dev/i2c-250")).map(|_| ()).unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
        assert!(error.to_string().contains("raspi-config nonint do_i2c 0"), "{error}");
    }

    #[test]
    fn a_missing_chip_is_not_found() {
        let error = output(Some(Path::new("/dev/gpiochip250")), 17).unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound, "{error:?}");
    }

    #[test]
    fn an_input_with_edges_on_a_missing_chip_is_not_found() {
        let chip = Path::new("/dev/gpiochip250");

        let error = edges(Some(chip), 17, Pull::Up, Duration::from_millis(5)).unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound, "{error:?}");
    }

    #[test]
    fn the_error_of_the_pi_adapter_without_an_acknowledge_is_recognized() {
        let kind = |number| i2c::Error::kind(&LinuxI2cError(LinuxI2CError::Errno(number).into()));

        assert_eq!(kind(errno::EREMOTEIO), ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown));
        assert_eq!(kind(errno::ETIMEDOUT), ErrorKind::Bus);
    }
}
