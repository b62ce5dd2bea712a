//! What a camera's recordings are: when the hub records it, for how long that is kept, and what there is.

use serde::{Deserialize, Serialize};

use crate::{
    model::id::{ActionName, ModuleId, SensorType},
    time::Timestamp,
};

/// The most triggers of one camera.
pub const MAX_RECORDING_TRIGGERS: usize = 16;
/// The most times of frames on a page.
pub const MAX_FRAME_TIMES: u32 = 10_000;
/// The most characters of a recording's reason.
pub const MAX_RECORDING_REASON: usize = 200;

/// When a camera is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RecordingMode {
    /// Only when somebody asks for it.
    #[default]
    Off,
    /// One frame every so many seconds.
    TimeLapse,
    /// Every frame.
    Continuous,
    /// Every frame while there is a reason to, and those just before.
    OnEvent,
}

/// What begins an on-event recording: a reading (`type`, with `above`, `below` or both) or a command that succeeded
/// (`action`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RecordingTrigger {
    /// Whose reading or command.
    pub module_id: ModuleId,
    /// Of the reading: what is measured.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub kind: Option<SensorType>,
    /// A value above this, in the series' unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub above: Option<f64>,
    /// A value below this, in the series' unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub below: Option<f64>,
    /// Of the command: what it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub action: Option<ActionName>,
}

/// When a camera is recorded and for how long that is kept. All but `mode` may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RecordingSettings {
    /// When it is recorded.
    pub mode: RecordingMode,
    /// In `time_lapse`: seconds between two frames, 1 to 86,400. Default 60.
    #[serde(default = "every_secs")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 86_400))]
    pub every_secs: u32,
    /// In `on_event`: seconds before the event that are recorded too, 0 to 60, as far as they fit in memory. Default 5.
    #[serde(default = "before_secs")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 60))]
    pub before_secs: u32,
    /// In `on_event`: seconds after the last reading or command that is an event, 1 to 3,600. Default 30.
    #[serde(default = "after_secs")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 3_600))]
    pub after_secs: u32,
    /// Days a recording is kept, up to 3,650; 0 is forever. Default 7.
    #[serde(default = "keep_days")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 3_650))]
    pub keep_days: u32,
    /// Bytes this camera's recordings may have, 16,000,000 to 10^13; then the oldest go. Default 10^10.
    #[serde(default = "keep_bytes")]
    #[cfg_attr(feature = "openapi", schema(minimum = 16_000_000, maximum = 10_000_000_000_000_i64))]
    pub keep_bytes: u64,
    /// In `on_event`: what is an event, up to 16.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 16))]
    pub triggers: Vec<RecordingTrigger>,
}

fn every_secs() -> u32 {
    60
}

fn before_secs() -> u32 {
    5
}

fn after_secs() -> u32 {
    30
}

fn keep_days() -> u32 {
    7
}

fn keep_bytes() -> u64 {
    10_000_000_000
}

impl Default for RecordingSettings {
    fn default() -> Self {
        Self {
            mode: RecordingMode::Off,
            every_secs: every_secs(),
            before_secs: before_secs(),
            after_secs: after_secs(),
            keep_days: keep_days(),
            keep_bytes: keep_bytes(),
            triggers: Vec::new(),
        }
    }
}

/// A camera's recording: its settings, and what is going on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Recording {
    /// When it is recorded.
    pub mode: RecordingMode,
    /// In `time_lapse`: seconds between two frames.
    pub every_secs: u32,
    /// In `on_event`: seconds before the event that are recorded too.
    pub before_secs: u32,
    /// In `on_event`: seconds after the last event.
    pub after_secs: u32,
    /// Days a recording is kept; 0 is forever.
    pub keep_days: u32,
    /// Bytes its recordings may have.
    pub keep_bytes: u64,
    /// In `on_event`: what is an event.
    pub triggers: Vec<RecordingTrigger>,
    /// Whether what it delivers now is recorded.
    pub recording: bool,
    /// When the current event or the order to record now ends; null when there is none. A `continuous` recording or a
    /// `time_lapse` goes on after it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub event_until: Option<Timestamp>,
    /// Why recording waits though it should go on; null when it does not wait.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub paused: Option<String>,
    /// Frames that are kept.
    pub frames: u64,
    /// Bytes of the files they are in.
    pub bytes: u64,
    /// When the oldest frame was captured; null when there is none.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub oldest_at: Option<Timestamp>,
    /// When the newest frame was captured; null when there is none.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub newest_at: Option<Timestamp>,
    /// Frames that were to be recorded since the hub started and were not: the disk was too slow, full or broken.
    pub skipped: u64,
}

/// Recorded without a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Clip {
    /// Names it among those of its camera.
    pub id: String,
    /// When its first frame that is kept was captured.
    pub begun_at: Timestamp,
    /// When its last frame was captured.
    pub ended_at: Timestamp,
    /// Frames that are kept.
    pub frames: u64,
    /// Bytes of the files they are in.
    pub bytes: u64,
    /// Why it was recorded.
    pub reason: String,
}

/// Which of the recorded frames is meant by a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FrameSelection {
    /// The one closest to it.
    #[default]
    Nearest,
    /// The first one after it.
    Next,
    /// The last one before it.
    Previous,
}

/// An order to record now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StartRecording {
    /// For so many seconds, 1 to 3,600. Default 30.
    #[serde(default = "after_secs")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 3_600))]
    pub secs: u32,
    /// Why, up to 200 characters; says who asked when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, max_length = 200))]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_mode_has_a_default() {
        let settings: RecordingSettings = serde_json::from_str(r#"{"mode": "off"}"#).unwrap();

        assert_eq!(settings, RecordingSettings::default());
        assert!(serde_json::from_str::<RecordingSettings>("{}").is_err());
        assert!(serde_json::from_str::<RecordingSettings>(r#"{"mode": "always"}"#).is_err());
        assert!(serde_json::from_str::<RecordingSettings>(r#"{"mode": "off", "evry_secs": 1}"#).is_err());
    }

    #[test]
    fn a_trigger_is_a_reading_or_a_command() {
        let text = r#"[{"module_id":"door","type":"motion","above":0.5},{"module_id":"led","action":"on"}]"#;

        let triggers: Vec<RecordingTrigger> = serde_json::from_str(text).unwrap();

        assert_eq!((triggers[0].above, triggers[0].action.is_none()), (Some(0.5), true));
        assert_eq!(serde_json::to_string(&triggers).unwrap(), text);
    }
}
