//! All a module may ask of a hub.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{
    camera::FrameReceipt,
    command::{LeasedCommand, StatusReceipt, StatusReport},
    error::{ErrorKind, Problem},
    frame::Frame,
    gap::NewGap,
    id::ModuleId,
    manifest::{Manifest, ModuleInfo},
    new_reading::{NewReading, Stored},
    reading::Reading,
};

/// A module's line to its hub, bound to one module id.
///
/// The HTTP client implements it for real hubs, the runner wraps it with an outbox, and
/// [`RecordingUplink`](crate::testing::RecordingUplink) implements it for a module's own tests.
///
/// # Cancel safety
/// Every method may be cancelled. The request may then have reached the hub or not; each is safe to send again,
/// except that a cancelled [`claim`](Self::claim) may leave commands leased until their lease ends.
#[async_trait]
pub trait Uplink: Send + Sync {
    /// The module this line belongs to.
    fn module_id(&self) -> &ModuleId;

    /// Says what the module offers. Idempotent.
    ///
    /// # Errors
    /// [`UplinkError`]; `PermissionDenied` when the token is for another module.
    ///
    /// # Cancel safety
    /// See the trait.
    async fn register(&self, manifest: &Manifest) -> Result<ModuleInfo, UplinkError>;

    /// Hands over readings of this module. When it returns, they are the other side's to keep: stored by a hub, or numbered
    /// and taken into the outbox. This is what a module calls.
    ///
    /// # Errors
    /// [`UplinkError`]; none of the readings was taken then.
    ///
    /// # Cancel safety
    /// See the trait.
    async fn record(&self, readings: Vec<Reading>) -> Result<(), UplinkError> {
        self.deliver(readings.into_iter().map(NewReading::from).collect()).await.map(|_| ())
    }

    /// Delivers readings to the hub as they stand, with their numbers if they have some; at most 1,000. Never through an
    /// outbox: this is what a runner calls, and who else calls it keeps them until it returned.
    ///
    /// # Errors
    /// [`UplinkError`]; none of the readings was taken then.
    ///
    /// # Cancel safety
    /// See the trait. Readings with numbers are stored once however often they are sent.
    async fn deliver(&self, readings: Vec<NewReading>) -> Result<Stored, UplinkError>;

    /// Says that numbered readings of this module will never come. Idempotent.
    ///
    /// # Errors
    /// [`UplinkError`].
    ///
    /// # Cancel safety
    /// See the trait.
    async fn report_gap(&self, gap: NewGap) -> Result<(), UplinkError>;

    /// Shows a picture. Newest wins: it is never kept for later.
    ///
    /// # Errors
    /// [`UplinkError`]; the picture is then gone.
    ///
    /// # Cancel safety
    /// See the trait.
    async fn publish(&self, frame: Frame) -> Result<FrameReceipt, UplinkError>;

    /// Shows a film: each time the line can take one, the newest picture. Tells `pictures` what the hub answers, and returns
    /// when the film is over. [`FrameReceiver::forward_to`](crate::FrameReceiver::forward_to) opens it again when it broke.
    ///
    /// By default each picture is [published](Self::publish) by itself.
    ///
    /// # Errors
    /// [`UplinkError`] when the line broke. A picture that was refused is no error: the film goes on.
    ///
    /// # Cancel safety
    /// See the trait.
    #[cfg(feature = "client")]
    async fn stream_frames(
        &self,
        pictures: &mut crate::client::frame_publisher::FrameReceiver,
    ) -> Result<(), UplinkError> {
        while let Some(frame) = pictures.next().await {
            pictures.record(self.publish(frame).await)?;
        }
        Ok(())
    }

    /// Takes the next command, waiting up to `wait` (at most 60 s) for one. An empty answer is no error.
    ///
    /// # Errors
    /// [`UplinkError`].
    ///
    /// # Cancel safety
    /// See the trait.
    async fn claim(&self, wait: Duration) -> Result<Vec<LeasedCommand>, UplinkError>;

    /// Says how a command ended, what the module's state is, or just that the module is there.
    ///
    /// # Errors
    /// [`UplinkError`]; `Conflict` when the command's lease is over.
    ///
    /// # Cancel safety
    /// See the trait.
    async fn report(&self, report: StatusReport) -> Result<StatusReceipt, UplinkError>;
}

/// Why a request to a hub failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UplinkError {
    /// The hub answered with a problem document.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The hub could not be reached, or the line broke: nobody knows whether the request arrived.
    #[error("the hub at {url} cannot be reached")]
    Unreachable {
        /// The hub's address.
        url: String,
        /// What the network said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The hub did not answer in time.
    #[error("the hub at {url} did not answer within {} s", after.as_secs_f64())]
    Timeout {
        /// The hub's address.
        url: String,
        /// How long was waited.
        after: Duration,
    },
    /// The answer was not what a hub answers; perhaps it is something else's address.
    #[error("what answered at {url} is not an iotpi hub: {message}")]
    NotAHub {
        /// The address.
        url: String,
        /// What was wrong with the answer.
        message: String,
    },
}

impl UplinkError {
    /// Which of the closed list it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Problem(problem) => problem.kind,
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::NotAHub { .. } => ErrorKind::Unavailable,
        }
    }

    /// How long the hub asks to be left alone, if it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem(problem) => Duration::try_from_secs_f64(problem.retry_after_secs?).ok(),
            _ => None,
        }
    }
}
