//! The traits of devices. Drivers implement them; modules run them.

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::model::{
    command::Action,
    frame::Frame,
    manifest::{ActionSpec, CameraSpec},
    reading::{Quantity, Sample},
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
}

/// A device that runs actions: a lamp, a valve, a motor.
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

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        (**self).read().await
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
            Self::OutOfRange => "out of range",
            Self::PermissionDenied => "permission denied",
            Self::Refused => "refused",
            Self::Other => "device",
        }
    }
}

/// An error of a device.
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
