//! The operations that a module may call on a hub.

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

/// The connection of a module to its hub, bound to one module id.
///
/// The HTTP client implements it for real hubs, the runner wraps it with an outbox, and
/// `testing::RecordingUplink` implements it for a module's own tests.
///
/// # Cancel safety
/// Every method may be cancelled. It is then unknown whether the request reached the hub. Each is safe to
/// repeat, except that a cancelled [`claim`](Self::claim) may leave commands leased until their lease ends.
#[async_trait]
pub trait Uplink: Send + Sync {
    /// The id of the module.
    fn module_id(&self) -> &ModuleId;

    /// Registers the module with its manifest. Idempotent.
    ///
    /// # Errors
    /// [`UplinkError`]; `PermissionDenied` if the token belongs to another module.
    ///
    /// # Cancel safety
    /// See the trait.
    async fn register(&self, manifest: &Manifest) -> Result<ModuleInfo, UplinkError>;

    /// Records readings of this module. When it returns, they are stored by a hub, or numbered and in the
    /// outbox. Modules call this method.
    ///
    /// # Errors
    /// [`UplinkError`]; none of the readings was recorded then.
    ///
    /// # Cancel safety
    /// See the trait.
    async fn record(&self, readings: Vec<Reading>) -> Result<(), UplinkError> {
        self.deliver(readings.into_iter().map(NewReading::from).collect()).await.map(|_| ())
    }

    /// Delivers up to 1,000 readings to the hub directly, with their numbers if they have some, bypassing the
    /// outbox. Runners call this method; any other caller must keep the readings until it returns.
    ///
    /// # Errors
    /// [`UplinkError`]; none of the readings was stored then.
    ///
    /// # Cancel safety
    /// See the trait. Readings with numbers are stored once however often they are sent.
    async fn deliver(&self, readings: Vec<NewReading>) -> Result<Stored, UplinkError>;

    /// Reports that numbered readings of this module are lost. Idempotent.
    ///
    /// # Errors
    /// [`UplinkError`].
    ///
    /// # Cancel safety
    /// See the trait.
    async fn report_gap(&self, gap: NewGap) -> Result<(), UplinkError>;

    /// Publishes a frame. It replaces the frame before it.
    ///
    /// # Errors
    /// [`UplinkError`]; the frame is lost then.
    ///
    /// # Cancel safety
    /// See the trait.
    async fn publish(&self, frame: Frame) -> Result<FrameReceipt, UplinkError>;

    /// Streams frames: sends the newest frame whenever the connection can carry one, records the hub's
    /// answers in `frames`, and returns when the publisher was dropped.
    /// [`FrameReceiver::forward_to`](crate::client::FrameReceiver::forward_to) reconnects after an error.
    ///
    /// By default each frame is [published](Self::publish) by itself.
    ///
    /// # Errors
    /// [`UplinkError`] if the connection broke. A refused frame is not an error: the stream continues.
    ///
    /// # Cancel safety
    /// See the trait.
    #[cfg(feature = "client")]
    async fn stream_frames(
        &self,
        frames: &mut crate::client::frame_publisher::FrameReceiver,
    ) -> Result<(), UplinkError> {
        while let Some(frame) = frames.next().await {
            frames.record(self.publish(frame).await)?;
        }
        Ok(())
    }

    /// Claims the next command, waiting up to `wait` (at most 60 s) for one. An empty answer is not an error.
    ///
    /// # Errors
    /// [`UplinkError`].
    ///
    /// # Cancel safety
    /// See the trait.
    async fn claim(&self, wait: Duration) -> Result<Vec<LeasedCommand>, UplinkError>;

    /// Reports the outcome of a command, the state of the module, or a heartbeat.
    ///
    /// # Errors
    /// [`UplinkError`]; `Conflict` if the lease of the command has ended.
    ///
    /// # Cancel safety
    /// See the trait.
    async fn report(&self, report: StatusReport) -> Result<StatusReceipt, UplinkError>;
}

/// The reasons why a request to a hub failed.
///
/// ```
/// use iotpi_core::{UplinkError, model::error::{ErrorKind, Problem}};
///
/// let busy = UplinkError::Problem(Box::new(Problem::new(ErrorKind::Unavailable, 503, "starting")));
/// assert!(busy.is_transient());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UplinkError {
    /// The hub answered with a problem document.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The hub could not be reached, or the connection broke: it is unknown whether the request arrived.
    #[error("the hub at {url} cannot be reached")]
    Unreachable {
        /// The address of the hub.
        url: String,
        /// The underlying network error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The hub did not answer in time.
    #[error("the hub{} did not answer within {} s", at(url.as_deref()), after.as_secs_f64())]
    Timeout {
        /// The address of the hub, where it is known.
        url: Option<String>,
        /// The time limit that was exceeded.
        after: Duration,
    },
    /// The answer was not that of a hub; the address may belong to another server.
    #[error("the server at {url} is not an iotpi hub: {message}")]
    NotAHub {
        /// The address.
        url: String,
        /// A description of the unexpected answer.
        message: String,
    },
}

fn at(url: Option<&str>) -> String {
    url.map(|url| format!(" at {url}")).unwrap_or_default()
}

impl UplinkError {
    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Problem(problem) => problem.kind,
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::NotAHub { .. } => ErrorKind::Unavailable,
        }
    }

    /// Whether the same request may succeed later without a change by the caller. A problem of a kind that this
    /// version does not know is judged by its status code.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Problem(problem) => problem.is_transient(),
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::NotAHub { .. } => true,
        }
    }

    /// The time after which the hub asks for a retry, if it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem(problem) => problem.retry_after(),
            _ => None,
        }
    }
}
