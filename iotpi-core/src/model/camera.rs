//! A camera as the hub knows it: what it answers to a frame, and what it tells everybody.

use serde::{Deserialize, Serialize};

use crate::{model::id::ModuleId, time::Timestamp};

/// The hub's answer to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FrameReceipt {
    /// How many want this camera's frames now: its viewers, and a recorder that takes each. With none, one frame a second
    /// is enough.
    pub viewers: u32,
    /// The number of this frame; numbers of a camera rise from the hub's start.
    pub seq: u64,
}

/// A camera as the hub knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CameraInfo {
    /// Whose camera it is.
    pub module_id: ModuleId,
    /// Whether it delivers. When it does not, its viewers see a picture that says so.
    pub online: bool,
    /// Pixels of the newest frame.
    pub width: u32,
    /// Pixels of the newest frame.
    pub height: u32,
    /// Size of the newest frame.
    pub bytes: u64,
    /// Frames a second over the last seconds.
    pub fps: f64,
    /// How many streams of it are open; a recorder is not a viewer.
    pub viewers: u32,
    /// Frames taken since the hub started.
    pub frames: u64,
    /// Frames given to viewers, summed over all of them.
    pub delivered: u64,
    /// Frames some viewer did not get because a newer one was there, summed over viewers.
    pub skipped: u64,
    /// Frames the camera numbered and that never came.
    pub missing: u64,
    /// Deliveries that were refused: not a JPEG, or too large.
    pub refused: u64,
    /// When the newest frame was taken, by the camera's clock.
    pub taken_at: Timestamp,
    /// When the newest frame was taken, by the hub's clock, as far as the camera told how far the two are apart.
    pub captured_at: Timestamp,
    /// When the hub got it.
    pub received_at: Timestamp,
    /// How long frames took from the camera to the hub.
    pub latency: Latency,
}

/// How long frames took over the last 10 seconds, or the newest frame if there was none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Latency {
    /// Half of them took no longer than this many seconds.
    pub p50: f64,
    /// All but one in a hundred took no longer than this many seconds.
    pub p99: f64,
}

/// A camera and who watches it, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WatchedCamera {
    /// The camera.
    #[serde(flatten)]
    pub camera: CameraInfo,
    /// Seconds since the newest frame was captured.
    pub age: f64,
    /// Who watches it, the longest first; up to 256.
    pub watching: Vec<ViewerInfo>,
}

/// One who watches a camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ViewerInfo {
    /// Names it among those of its camera since the hub started.
    pub id: u64,
    /// How it watches.
    pub via: ViewerKind,
    /// Since when.
    pub since: Timestamp,
    /// Frames it was given.
    pub delivered: u64,
    /// Frames it did not get because a newer one was there.
    pub skipped: u64,
}

/// How somebody watches a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ViewerKind {
    /// The MJPEG stream.
    Mjpeg,
    /// The live WebSocket.
    Live,
    /// The recorder.
    Recording,
}

impl ViewerKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mjpeg => "mjpeg",
            Self::Live => "live",
            Self::Recording => "recording",
        }
    }
}
