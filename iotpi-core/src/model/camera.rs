//! Cameras: the hub's answer to a frame, and a camera's state as the hub reports it.

use serde::{Deserialize, Serialize};

use crate::{
    model::{id::ModuleId, word::words},
    time::Timestamp,
};

/// The hub's answer to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FrameReceipt {
    /// The number of consumers of this camera's frames: viewers, and a recording that stores every frame. If
    /// it is 0, one frame a second is enough.
    pub viewers: u32,
    /// The number of this frame. A camera's numbers rise from the hub's start.
    pub seq: u64,
}

/// The state of a camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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

/// The latency of frames over the last 10 seconds, or of the newest frame if there was none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Latency {
    /// The median in seconds.
    pub p50: f64,
    /// The 99th percentile in seconds.
    pub p99: f64,
}

/// A camera with its current viewers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WatchedCamera {
    /// The state of the camera.
    #[serde(flatten)]
    pub camera: CameraInfo,
    /// The seconds since the newest frame was captured.
    pub age: f64,
    /// The viewers, the longest connected first; up to 256.
    pub watching: Vec<ViewerInfo>,
}

/// A viewer of a camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
