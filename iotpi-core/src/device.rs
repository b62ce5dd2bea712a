//! The traits of devices. Drivers implement them; modules run them.

use std::io;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::model::{
    command::Action,
    frame::Frame,
    id::Channel,
    manifest::{ActionSpec, CameraSpec},
    reading::{Quantity, Sample, SeriesSpec},
};

/// A device that measures.
///
/// ```
/// use iotpi_core::{async_trait, DeviceError, Quantity, Sample, Sensor};
///
/// struct Boiler;
///
/// #[async_trait]
/// impl Sensor for Boiler {
///     fn quantities(&self) -> Vec<Quantity> {
///         vec![Quantity::Temperature]
///     }
///
///     async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
///         Ok(vec![Sample::new(Quantity::Temperature, 61.5)])
///     }
/// }
/// ```
#[async_trait]
pub trait Sensor: Send {
    /// The quantities that [`read`](Self::read) returns. The list does not change.
    fn quantities(&self) -> Vec<Quantity>;

    /// The series that [`read`](Self::read) returns: the quantities, with their channels. The default is each
    /// quantity without a channel; only a device that measures a quantity several times implements this.
    fn series(&self) -> Vec<SeriesSpec> {
        self.quantities().into_iter().map(SeriesSpec::new).collect()
    }

    /// Measures once and returns one sample of each quantity, in its canonical unit. A quantity that could
    /// not be measured while others could is an [`Outcome::NoData`](crate::Outcome::NoData) sample.
    ///
    /// # Errors
    /// [`DeviceError`] if nothing could be measured. The next call tries again, with a reset of the device if
    /// necessary.
    ///
    /// # Cancel safety
    /// A cancelled read leaves the device usable: the next read starts over.
    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError>;

    /// Completes when the sensor has something to report before its next interval: a button was pressed, a
    /// door was opened. `SensorModule` then reads it at once. The default never
    /// completes: the sensor is read at its interval only.
    ///
    /// It completes at once, also when called again, until [`read`](Self::read) has returned the change. A
    /// sensor that failed does not complete it; the next read returns the error.
    ///
    /// # Cancel safety
    /// A cancelled call loses no change.
    async fn changed(&mut self) {
        std::future::pending().await
    }

    /// Puts all samples of this sensor on a channel, so that a module may have several sensors of one type. A
    /// sample that has a channel of its own, as the inputs of a converter have, is then on both:
    /// `supply-voltage0`.
    fn on_channel(self, channel: Channel) -> OnChannel<Self>
    where
        Self: Sized,
    {
        OnChannel { sensor: self, channel }
    }
}

/// A sensor whose samples are on one channel: see [`Sensor::on_channel`].
///
/// ```
/// use iotpi_core::{Quantity, Sensor, measure};
///
/// let sensor = measure(Quantity::Temperature, async || Ok(61.5)).on_channel("supply".parse()?);
/// assert_eq!(sensor.series()[0].channel, Some("supply".parse()?));
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug)]
pub struct OnChannel<S> {
    sensor: S,
    channel: Channel,
}

#[async_trait]
impl<S: Sensor> Sensor for OnChannel<S> {
    fn quantities(&self) -> Vec<Quantity> {
        self.sensor.quantities()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        let series = self.sensor.series().into_iter();
        series
            .map(|one| {
                let channel = self.below(one.channel.as_ref());
                one.with_channel(channel)
            })
            .collect()
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let samples = self.sensor.read().await?.into_iter();
        Ok(samples
            .map(|sample| {
                let channel = self.below(sample.channel.as_ref());
                sample.with_channel(channel)
            })
            .collect())
    }

    async fn changed(&mut self) {
        self.sensor.changed().await;
    }
}

impl<S> OnChannel<S> {
    /// The channel of a series that has this channel of its own.
    fn below(&self, own: Option<&Channel>) -> Channel {
        let Some(own) = own else { return self.channel.clone() };
        // Of two long names the end is more likely to tell the series apart.
        Channel::new(format!("{}-{own}", self.channel)).unwrap_or_else(|_| own.clone())
    }
}

/// A device that runs actions: a lamp, a valve, a motor.
///
/// ```
/// use iotpi_core::{Action, ActionSpec, Actuator, DeviceError, async_trait};
/// use serde_json::{Map, Value, json};
///
/// struct Lamp {
///     on: bool,
/// }
///
/// #[async_trait]
/// impl Actuator for Lamp {
///     fn actions(&self) -> Vec<ActionSpec> {
///         vec![ActionSpec::new("on".parse().expect("a valid name"), "Switch it on", Value::Null)]
///     }
///
///     async fn perform(&mut self, _action: &Action) -> Result<Value, DeviceError> {
///         self.on = true;
///         Ok(Value::Null)
///     }
///
///     async fn make_safe(&mut self) -> Result<(), DeviceError> {
///         self.on = false;
///         Ok(())
///     }
///
///     fn state(&self) -> Map<String, Value> {
///         Map::from_iter([("on".to_owned(), json!(self.on))])
///     }
/// }
/// ```
#[async_trait]
pub trait Actuator: Send {
    /// The actions of the device. The list does not change.
    fn actions(&self) -> Vec<ActionSpec>;

    /// Runs one action and returns its result. The hub checked the parameters against the schema, but a hub
    /// may be older: check parameters that could do harm.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Refused`] if the device does not run the action (the command is `rejected`); any
    /// other kind if it failed (`failed`).
    ///
    /// # Cancel safety
    /// Not cancelled while the module runs; it may be at the end of its grace period. Then
    /// [`make_safe`](Self::make_safe) follows.
    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError>;

    /// Puts the device into a state in which it does no harm unattended: lamps and heaters off, motors
    /// stopped. It is called when the module ends: on SIGHUP, SIGINT, SIGQUIT and SIGTERM, on an error, and
    /// when the hub refuses the module; not after a panic, SIGKILL or a power cut
    /// (`docs/howto/fail-safe.md`). A device with `while_alive` actions is also made safe at the start, and
    /// when the issuer is absent.
    ///
    /// # Errors
    /// [`DeviceError`] if the device did not reach its safe state.
    ///
    /// # Cancel safety
    /// Must be callable again after a cancelled call.
    async fn make_safe(&mut self) -> Result<(), DeviceError>;

    /// The current state of the device for the dashboard, an object such as `{"on": true}`; empty if it has
    /// none.
    fn state(&self) -> Map<String, Value> {
        Map::new()
    }
}

/// A device that captures frames.
///
/// ```
/// use iotpi_core::{Camera, CameraSpec, Clock, DeviceError, DeviceErrorKind, Frame, SystemClock, async_trait};
///
/// struct Snapshots;
///
/// #[async_trait]
/// impl Camera for Snapshots {
///     fn spec(&self) -> CameraSpec {
///         CameraSpec::new(640, 480, 1.0)
///     }
///
///     async fn capture(&mut self) -> Result<Frame, DeviceError> {
///         let jpeg = std::fs::read("/run/snapshot.jpg")?;
///         Frame::from_jpeg(jpeg.into(), SystemClock::new().now())
///             .map_err(|error| DeviceError::new(DeviceErrorKind::Refused, error.to_string()))
///     }
/// }
/// ```
#[async_trait]
pub trait Camera: Send {
    /// The size and the rate of its frames.
    fn spec(&self) -> CameraSpec;

    /// Waits for the next frame and returns it. The camera sets the pace.
    ///
    /// # Errors
    /// [`DeviceError`] if the camera is gone or sent no image. The next call tries again.
    ///
    /// # Cancel safety
    /// A cancelled capture loses at most the frame in progress.
    async fn capture(&mut self) -> Result<Frame, DeviceError>;
}

#[async_trait]
impl<S: Sensor + ?Sized> Sensor for Box<S> {
    fn quantities(&self) -> Vec<Quantity> {
        (**self).quantities()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        (**self).series()
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        (**self).read().await
    }

    async fn changed(&mut self) {
        (**self).changed().await;
    }
}

#[async_trait]
impl<A: Actuator + ?Sized> Actuator for Box<A> {
    fn actions(&self) -> Vec<ActionSpec> {
        (**self).actions()
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        (**self).perform(action).await
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        (**self).make_safe().await
    }

    fn state(&self) -> Map<String, Value> {
        (**self).state()
    }
}

#[async_trait]
impl<C: Camera + ?Sized> Camera for Box<C> {
    fn spec(&self) -> CameraSpec {
        (**self).spec()
    }

    async fn capture(&mut self) -> Result<Frame, DeviceError> {
        (**self).capture().await
    }
}

/// The kinds of device errors, for a program to react to. More may be added.
///
/// ```
/// use iotpi_core::{DeviceError, DeviceErrorKind};
///
/// let error = DeviceError::new(DeviceErrorKind::Timeout, "no answer at 0x76");
/// assert_eq!(error.kind(), DeviceErrorKind::Timeout);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceErrorKind {
    /// The transfer on the bus failed: no acknowledge, arbitration lost.
    Bus,
    /// The device did not answer in time.
    Timeout,
    /// The device answered with a wrong checksum.
    Checksum,
    /// The device is missing, or there is another one in its place.
    NotFound,
    /// The device answered with data that cannot be parsed.
    InvalidData,
    /// The device answered with a value outside its range.
    OutOfRange,
    /// The program does not have the permission to use it.
    PermissionDenied,
    /// The device does not run this action, or not with these parameters.
    Refused,
    /// Any other error.
    Other,
}

impl DeviceErrorKind {
    /// The kind as one word, with which a no-data reason begins.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bus => "bus",
            Self::Timeout => "timeout",
            Self::Checksum => "checksum",
            Self::NotFound => "not found",
            Self::InvalidData => "invalid data",
            Self::OutOfRange => "out of range",
            Self::PermissionDenied => "permission denied",
            Self::Refused => "refused",
            Self::Other => "device",
        }
    }
}

/// An error of a device.
///
/// It is created from an I/O or parse error by `?`, and from an error of a bus or pin with a constructor that
/// adds the address. [`new`](Self::new) makes any other one.
///
/// ```
/// use iotpi_core::{DeviceError, DeviceErrorKind};
///
/// fn celsius(file: &str) -> Result<f64, DeviceError> {
///     let millidegrees: f64 = std::fs::read_to_string(file)?.trim().parse()?;
///     Ok(millidegrees / 1000.0)
/// }
///
/// assert_eq!(celsius("/nowhere/temp").unwrap_err().kind(), DeviceErrorKind::NotFound);
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", kind.as_str())]
pub struct DeviceError {
    kind: DeviceErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl DeviceError {
    /// An error with a sentence for people: the failed operation and what to check.
    #[must_use]
    pub fn new(kind: DeviceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The error for a failed transfer on an I2C bus. It is [`NotFound`](DeviceErrorKind::NotFound) when the
    /// bus reports that the address was not acknowledged, otherwise [`Bus`](DeviceErrorKind::Bus): many
    /// adapters do not report which byte was not acknowledged.
    ///
    /// ```
    /// use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    /// use iotpi_core::{DeviceError, DeviceErrorKind};
    ///
    /// let error = DeviceError::bus(0x48, &ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
    /// assert_eq!(error.kind(), DeviceErrorKind::NotFound);
    /// assert_eq!(error.to_string(), "not found: no device answers at 0x48: check power, wiring and the address");
    /// ```
    #[cfg(feature = "embedded-hal")]
    #[must_use]
    pub fn bus<E: embedded_hal::i2c::Error>(address: u8, error: &E) -> Self {
        use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};

        match error.kind() {
            ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address) => Self::new(
                DeviceErrorKind::NotFound,
                format!("no device answers at {address:#04x}: check power, wiring and the address"),
            ),
            kind => Self::new(DeviceErrorKind::Bus, format!("I2C at {address:#04x}: {kind} ({error:?})")),
        }
    }

    /// The error for a failed transfer on an SPI bus.
    #[cfg(feature = "embedded-hal")]
    #[must_use]
    pub fn spi<E: embedded_hal::spi::Error>(error: &E) -> Self {
        Self::new(DeviceErrorKind::Bus, format!("SPI: {} ({error:?})", error.kind()))
    }

    /// The error for a pin that cannot be set or read. All errors of digital and PWM pins implement `Debug`.
    #[cfg(feature = "embedded-hal")]
    #[must_use]
    pub fn pin<E: std::fmt::Debug>(error: &E) -> Self {
        Self::new(DeviceErrorKind::Bus, format!("the pin cannot be used: {error:?}"))
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> DeviceErrorKind {
        self.kind
    }
}

impl From<DeviceErrorKind> for DeviceError {
    fn from(kind: DeviceErrorKind) -> Self {
        Self::new(kind, "no more is known")
    }
}

/// Error numbers of Linux for which [`io::ErrorKind`] has no stable word.
mod errno {
    pub const EIO: i32 = 5;
    pub const ENXIO: i32 = 6;
    pub const ENODEV: i32 = 19;
    pub const EREMOTEIO: i32 = 121;
}

/// The kind follows from the kind of the I/O error, and for a device file from its error number: no device
/// is [`NotFound`](DeviceErrorKind::NotFound), a failed transfer is [`Bus`](DeviceErrorKind::Bus).
impl From<io::Error> for DeviceError {
    fn from(error: io::Error) -> Self {
        let kind = match (error.raw_os_error(), error.kind()) {
            (Some(errno::EIO | errno::EREMOTEIO), _) => DeviceErrorKind::Bus,
            (Some(errno::ENXIO | errno::ENODEV), _) | (_, io::ErrorKind::NotFound) => {
                DeviceErrorKind::NotFound
            }
            (_, io::ErrorKind::PermissionDenied) => DeviceErrorKind::PermissionDenied,
            (_, io::ErrorKind::TimedOut) => DeviceErrorKind::Timeout,
            (_, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => DeviceErrorKind::InvalidData,
            _ => DeviceErrorKind::Other,
        };
        // The text is the message: as the source it would be missing from the reason of a reading.
        Self::new(kind, error.to_string())
    }
}

/// Errors of parsers become [`DeviceErrorKind::InvalidData`].
macro_rules! from_parse_errors {
    ($($error:ty),+) => {$(
        impl From<$error> for DeviceError {
            fn from(error: $error) -> Self {
                Self::new(DeviceErrorKind::InvalidData, error.to_string())
            }
        }
    )+};
}

from_parse_errors!(
    std::num::ParseFloatError,
    std::num::ParseIntError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    serde_json::Error
);

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: impl Into<DeviceError>) -> DeviceErrorKind {
        error.into().kind()
    }

    #[test]
    fn an_io_error_becomes_a_device_error_of_the_matching_kind() {
        let os = |number| kind(io::Error::from_raw_os_error(number));

        assert_eq!(os(2), DeviceErrorKind::NotFound);
        assert_eq!(os(errno::ENODEV), DeviceErrorKind::NotFound);
        assert_eq!(os(13), DeviceErrorKind::PermissionDenied);
        assert_eq!(os(110), DeviceErrorKind::Timeout);
        assert_eq!(os(errno::EREMOTEIO), DeviceErrorKind::Bus);
        assert_eq!(kind(io::Error::from(io::ErrorKind::InvalidData)), DeviceErrorKind::InvalidData);
        assert_eq!(os(28), DeviceErrorKind::Other);
    }

    #[test]
    fn a_parse_error_keeps_its_text() {
        fn value(text: &str) -> Result<f64, DeviceError> {
            let number: i32 = std::str::from_utf8(text.as_bytes())?.trim().parse()?;
            Ok(f64::from(number))
        }

        let error = value("warm").unwrap_err();

        assert_eq!(value(" 21\n").unwrap(), 21.0);
        assert_eq!(error.to_string(), "invalid data: invalid digit found in string");
        assert_eq!(kind("x".parse::<f64>().unwrap_err()), DeviceErrorKind::InvalidData);
        assert_eq!(kind(String::from_utf8(vec![0xFF]).unwrap_err()), DeviceErrorKind::InvalidData);
        assert_eq!(kind(serde_json::from_str::<u8>("{").unwrap_err()), DeviceErrorKind::InvalidData);
    }

    /// A converter with two inputs.
    struct Converter;

    #[async_trait]
    impl Sensor for Converter {
        fn quantities(&self) -> Vec<Quantity> {
            vec![Quantity::Temperature; 2]
        }

        fn series(&self) -> Vec<SeriesSpec> {
            let of = |quantity| SeriesSpec::new(quantity);
            vec![
                of(Quantity::Temperature).with_channel(Channel::new("in0").unwrap()),
                of(Quantity::Temperature).with_channel(Channel::new("x".repeat(64)).unwrap()),
            ]
        }

        async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
            Ok(self.series().into_iter().map(|series| Sample::new(series, 1.0)).collect())
        }
    }

    #[test]
    fn a_channel_does_not_hide_the_channels_of_the_sensor() {
        let sensor = Converter.on_channel(Channel::new("tank").unwrap());

        let channels: Vec<_> = sensor.series().into_iter().filter_map(|one| one.channel).collect();

        assert_eq!(channels.iter().map(Channel::as_str).collect::<Vec<_>>(), ["tank-in0", &"x".repeat(64)]);
    }

    #[cfg(feature = "embedded-hal")]
    #[test]
    fn an_error_of_a_bus_names_the_address_and_the_cause() {
        use embedded_hal::{digital, i2c, spi};

        let no_acknowledge = |source| DeviceError::bus(0x40, &i2c::ErrorKind::NoAcknowledge(source));

        assert_eq!(no_acknowledge(i2c::NoAcknowledgeSource::Address).kind(), DeviceErrorKind::NotFound);
        assert_eq!(no_acknowledge(i2c::NoAcknowledgeSource::Unknown).kind(), DeviceErrorKind::Bus);
        let lost = DeviceError::bus(0x40, &i2c::ErrorKind::ArbitrationLoss);
        assert!(lost.to_string().starts_with("bus: I2C at 0x40: "), "{lost}");
        assert_eq!(DeviceError::spi(&spi::ErrorKind::Overrun).kind(), DeviceErrorKind::Bus);
        assert_eq!(DeviceError::pin(&digital::ErrorKind::Other).kind(), DeviceErrorKind::Bus);
    }
}
