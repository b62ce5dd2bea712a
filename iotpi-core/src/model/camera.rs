//! Cameras: the hub's answer to a frame, and a camera's state as the hub reports it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    model::{id::ModuleId, word::words},
    time::{Timestamp, duration},
};

/// The hub's answer to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct FrameReceipt {
    /// The number of consumers of this camera's frames: viewers, and a recording that stores every frame. If
    /// it is 0, one frame a second is enough.
    pub viewers: u32,
    /// The number of this frame. A camera's numbers rise from the hub's start.
    pub seq: u64,
}

impl FrameReceipt {
    /// The answer to frame `seq` while there are `viewers` consumers.
    #[must_use]
    pub fn new(viewers: u32, seq: u64) -> Self {
        Self { viewers, seq }
    }
}

/// The state of a camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CameraInfo {
    /// The camera's module.
    pub module_id: ModuleId,
    /// Whether the camera delivers frames. If it does not, its viewers see a "no signal" frame.
    pub online: bool,
    /// The width of the newest frame in pixels.
    pub width: u32,
    /// The height of the newest frame in pixels.
    pub height: u32,
    /// The size of the newest frame in bytes.
    pub bytes: u64,
    /// The frame rate over the last seconds, in frames a second.
    pub fps: f64,
    /// The number of open streams of this camera, without recordings.
    pub viewers: u32,
    /// The number of frames received since the hub started.
    pub frames: u64,
    /// The number of frames delivered, summed over all viewers.
    pub delivered: u64,
    /// The number of frames that viewers did not get because a newer one replaced them, summed over all
    /// viewers.
    pub skipped: u64,
    /// The number of frames that the camera numbered and that never arrived.
    pub missing: u64,
    /// The number of refused deliveries: not a JPEG, or too large.
    pub refused: u64,
    /// The capture time of the newest frame by the camera's clock.
    pub taken_at: Timestamp,
    /// The capture time of the newest frame by the hub's clock, if the camera reported the offset between the
    /// clocks.
    pub captured_at: Timestamp,
    /// The time at which the newest frame arrived at the hub.
    pub received_at: Timestamp,
    /// The time that frames take from the camera to the hub.
    pub latency: Latency,
}

impl CameraInfo {
    /// A camera that delivers frames, with the times of its newest frame: its capture by the camera's clock
    /// and by the hub's clock, and its arrival. All numbers are 0.
    #[must_use]
    pub fn new(
        module_id: ModuleId,
        taken_at: Timestamp,
        captured_at: Timestamp,
        received_at: Timestamp,
    ) -> Self {
        Self {
            module_id,
            online: true,
            width: 0,
            height: 0,
            bytes: 0,
            fps: 0.0,
            viewers: 0,
            frames: 0,
            delivered: 0,
            skipped: 0,
            missing: 0,
            refused: 0,
            taken_at,
            captured_at,
            received_at,
            latency: Latency::default(),
        }
    }
}

/// The latency of frames over the last 10 seconds, or of the newest frame if there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Latency {
    /// The median in seconds.
    pub p50: f64,
    /// The 99th percentile in seconds.
    pub p99: f64,
}

impl Latency {
    /// The median and the 99th percentile, in seconds.
    #[must_use]
    pub fn new(p50: f64, p99: f64) -> Self {
        Self { p50, p99 }
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> Duration {
        duration(self.p50)
    }

    /// The 99th percentile.
    #[must_use]
    pub fn percentile_99(&self) -> Duration {
        duration(self.p99)
    }
}

/// A camera with its current viewers.
///
/// ```no_run
/// # async fn example(hub: iotpi_core::HubClient) -> Result<(), iotpi_core::AnyError> {
/// for watched in hub.cameras().await? {
///     println!("{}: {} viewers", watched.camera.module_id, watched.watching.len());
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct WatchedCamera {
    /// The state of the camera.
    #[serde(flatten)]
    pub camera: CameraInfo,
    /// The seconds since the newest frame was captured.
    pub age: f64,
    /// The viewers, the longest connected first; up to 256.
    pub watching: Vec<ViewerInfo>,
}

impl WatchedCamera {
    /// A camera whose newest frame was captured `age` seconds ago.
    #[must_use]
    pub fn new(camera: CameraInfo, age: f64, watching: Vec<ViewerInfo>) -> Self {
        Self { camera, age, watching }
    }

    /// The time since the newest frame was captured.
    #[must_use]
    pub fn age(&self) -> Duration {
        duration(self.age)
    }
}

/// A viewer of a camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ViewerInfo {
    /// Identifies the viewer among those of its camera since the hub started.
    pub id: u64,
    /// The kind of connection.
    pub via: ViewerKind,
    /// The time at which it connected.
    pub since: Timestamp,
    /// The number of frames delivered to it.
    pub delivered: u64,
    /// The number of frames that it did not get because a newer one replaced them.
    pub skipped: u64,
}

impl ViewerInfo {
    /// A viewer that has not received a frame yet.
    #[must_use]
    pub fn new(id: u64, via: ViewerKind, since: Timestamp) -> Self {
        Self { id, via, since, delivered: 0, skipped: 0 }
    }
}

words! {
    /// The kind of a viewer's connection.
    ViewerKind {
        /// An MJPEG stream.
        Mjpeg = "mjpeg",
        /// A live WebSocket.
        Live = "live",
        /// A recording.
        Recording = "recording",
    }
}
