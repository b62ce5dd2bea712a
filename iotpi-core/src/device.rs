//! What a device can do: sense, act, see. Drivers implement these; modules run them.

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::model::{
    command::Action,
    frame::Frame,
    manifest::{ActionSpec, CameraSpec},
    reading::{Quantity, Sample},
};

/// Something that measures.
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
    /// What [`read`](Self::read) returns samples of. Does not change.
    fn quantities(&self) -> Vec<Quantity>;

    /// Measures once: one sample of each quantity, in its canonical unit. A quantity that could not be measured
    /// while others could is an [`Outcome::NoData`](crate::Outcome::NoData) sample.
    ///
    /// # Errors
    /// [`DeviceError`] when nothing could be measured. The next call tries again, from a reset if need be.
    ///
    /// # Cancel safety
    /// A cancelled read leaves the device usable: the next read starts over.
    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError>;
}

/// Something that obeys.
#[async_trait]
pub trait Actuator: Send {
    /// What it can be told to do. Does not change.
    fn actions(&self) -> Vec<ActionSpec>;

    /// Does one action and returns what to tell the one who asked. Parameters were checked against the schema by
    /// the hub, but a hub may be older or absent: check what could do harm.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Refused`] when it will not (the command is `rejected`); any other kind when it tried and it
    /// did not work (`failed`).
    ///
    /// # Cancel safety
    /// Not cancelled while the module runs; at the end of its grace time it may be. Then [`make_safe`](Self::make_safe) follows.
    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError>;

    /// Brings the device where it can do no harm when nobody watches: lamps and heaters off, motors stopped.
    /// Called when the module ends: on SIGHUP, SIGINT, SIGQUIT and SIGTERM, on an error, and when the hub refuses it; not after a
    /// panic, SIGKILL or a power cut (`docs/howto/fail-safe.md`). Also called, of a device with `while_alive` actions, at the start
    /// and when nobody watches any more.
    ///
    /// # Errors
    /// [`DeviceError`] when the device did not obey.
    ///
    /// # Cancel safety
    /// Must be callable again after a cancelled call.
    async fn make_safe(&mut self) -> Result<(), DeviceError>;

    /// The device's present state as the dashboard shows it, an object such as `{"on": true}`; empty when it has none.
    fn state(&self) -> Map<String, Value> {
        Map::new()
    }
}

/// Something that sees.
#[async_trait]
pub trait Camera: Send {
    /// What it will deliver.
    fn spec(&self) -> CameraSpec;

    /// The next picture; waits until there is one. Paced by the camera.
    ///
    /// # Errors
    /// [`DeviceError`] when the camera is gone or sent no picture. The next call tries again.
    ///
    /// # Cancel safety
    /// A cancelled capture loses at most the picture being taken.
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

/// What went wrong with a device, for a program to decide on. The list may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceErrorKind {
    /// The bus did not carry it: no acknowledge, arbitration lost.
    Bus,
    /// It did not answer in time.
    Timeout,
    /// It answered, and the check sum was wrong.
    Checksum,
    /// It is not there, or something else is.
    NotFound,
    /// It answered with a value it cannot measure.
    OutOfRange,
    /// The program may not use it.
    PermissionDenied,
    /// The action is not one it does, or not with these parameters.
    Refused,
    /// Anything else.
    Other,
}

impl DeviceErrorKind {
    /// The kind as one word, as it begins a no-data reason.
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

/// What went wrong with a device.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", kind.as_str())]
pub struct DeviceError {
    kind: DeviceErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl DeviceError {
    /// An error with a sentence for people: what was tried, and what to look at.
    #[must_use]
    pub fn new(kind: DeviceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same, with the error below it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of thing went wrong.
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
