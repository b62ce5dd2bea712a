//! Recordings of cameras: settings, state and clips.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    model::{
        channel_filter::ChannelFilter,
        id::{ActionName, ModuleId, SensorType},
        tolerant,
        word::{known, words},
    },
    time::Timestamp,
};

/// The maximum number of triggers of a camera.
pub const MAX_RECORDING_TRIGGERS: usize = 16;
/// The maximum number of frame times on a page.
pub const MAX_FRAME_TIMES: u32 = 10_000;
/// The maximum length of a recording's reason in characters.
pub const MAX_RECORDING_REASON: usize = 200;

words! {
    /// The conditions under which a camera is recorded.
    #[derive(Default)]
    RecordingMode {
        /// Only on request.
        #[default]
        Off = "off",
        /// One frame at an interval.
        TimeLapse = "time_lapse",
        /// Every frame.
        Continuous = "continuous",
        /// Every frame during an event, and those just before it.
        OnEvent = "on_event",
    }
}

/// A trigger of an on-event recording: a reading (`type`, with `above`, `below` or both) or a command that
/// succeeded (`action`).
///
/// ```
/// use iotpi_core::model::recording::RecordingTrigger;
///
/// let motion = RecordingTrigger::on_reading("door".parse()?, "motion".parse()?).above(0.5);
/// let bell = RecordingTrigger::on_action("doorbell".parse()?, "ring".parse()?);
/// # Ok::<(), iotpi_core::model::id::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RecordingTrigger {
    /// The module of the reading or command.
    pub module_id: ModuleId,
    /// For a reading: its type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub kind: Option<SensorType>,
    /// For a reading: its channel; empty: the default channel. Without it, readings of all channels trigger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<String>, nullable = false, pattern = "^([a-z0-9][a-z0-9_-]{0,63})?$")
    )]
    pub channel: Option<ChannelFilter>,
    /// A value above this triggers, in the series' unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub above: Option<f64>,
    /// A value below this triggers, in the series' unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub below: Option<f64>,
    /// For a command: its action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub action: Option<ActionName>,
}

impl RecordingTrigger {
    fn of(module_id: ModuleId) -> Self {
        Self { module_id, kind: None, channel: None, above: None, below: None, action: None }
    }

    /// Triggers on readings of this type, on all channels. [`above`](Self::above), [`below`](Self::below) or
    /// both must follow.
    #[must_use]
    pub fn on_reading(module_id: ModuleId, kind: SensorType) -> Self {
        Self { kind: Some(kind), ..Self::of(module_id) }
    }

    /// Triggers when a command of this action has succeeded.
    #[must_use]
    pub fn on_action(module_id: ModuleId, action: ActionName) -> Self {
        Self { action: Some(action), ..Self::of(module_id) }
    }

    /// For readings: triggers on this channel only.
    #[must_use]
    pub fn with_channel(mut self, channel: ChannelFilter) -> Self {
        self.channel = Some(channel);
        self
    }

    /// For readings: triggers on values above this one, in the series' unit.
    #[must_use]
    pub fn above(mut self, value: f64) -> Self {
        self.above = Some(value);
        self
    }

    /// For readings: triggers on values below this one, in the series' unit.
    #[must_use]
    pub fn below(mut self, value: f64) -> Self {
        self.below = Some(value);
        self
    }
}

/// The recording settings of a camera. All fields but `mode` are optional.
///
/// ```
/// use iotpi_core::model::recording::{RecordingMode, RecordingSettings, RecordingTrigger};
///
/// let motion = RecordingTrigger::on_reading("door".parse()?, "motion".parse()?).above(0.5);
/// let settings = RecordingSettings::new(RecordingMode::OnEvent).with_triggers(vec![motion]);
/// assert_eq!(settings.after_secs, 30);
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RecordingSettings {
    /// The conditions for a recording.
    #[serde(deserialize_with = "known")]
    pub mode: RecordingMode,
    /// In `time_lapse`: the interval between two frames in seconds, 1 to 86,400. Default 60.
    #[serde(default = "every_secs")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 86_400))]
    pub every_secs: u32,
    /// In `on_event`: the seconds before the event that are recorded, too, 0 to 60, as far as they fit in
    /// memory. Default 5.
    #[serde(default = "before_secs")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 60))]
    pub before_secs: u32,
    /// In `on_event`: the seconds after the last trigger, 1 to 3,600. Default 30.
    #[serde(default = "after_secs")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 3_600))]
    pub after_secs: u32,
    /// The days for which recordings are kept, up to 3,650; 0 means forever. Default 7.
    #[serde(default = "keep_days")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 3_650))]
    pub keep_days: u32,
    /// The maximum size of this camera's recordings in bytes, 16,000,000 to 10^13; beyond it the oldest are
    /// deleted. Default 10^10.
    #[serde(default = "keep_bytes")]
    #[cfg_attr(feature = "openapi", schema(minimum = 16_000_000, maximum = 10_000_000_000_000_i64))]
    pub keep_bytes: u64,
    /// In `on_event`: the triggers, up to 16.
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

impl RecordingSettings {
    /// The default settings with this mode.
    #[must_use]
    pub fn new(mode: RecordingMode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Sets the triggers of `on_event`, up to [`MAX_RECORDING_TRIGGERS`].
    #[must_use]
    pub fn with_triggers(mut self, triggers: Vec<RecordingTrigger>) -> Self {
        self.triggers = triggers;
        self
    }

    /// Parses settings as a hub stored them. It ignores unknown fields, which a newer hub may have written.
    ///
    /// # Errors
    /// [`serde_json::Error`] if the text is not JSON or a known field has the wrong type.
    pub fn from_stored_json(json: &str) -> Result<Self, serde_json::Error> {
        tolerant::from_json(json)
    }
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

/// The settings and the state of a camera's recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Recording {
    /// The conditions for a recording.
    pub mode: RecordingMode,
    /// In `time_lapse`: the interval between two frames in seconds.
    pub every_secs: u32,
    /// In `on_event`: the seconds before the event that are recorded, too.
    pub before_secs: u32,
    /// In `on_event`: the seconds after the last trigger.
    pub after_secs: u32,
    /// The days for which recordings are kept; 0 means forever.
    pub keep_days: u32,
    /// The maximum size of its recordings in bytes.
    pub keep_bytes: u64,
    /// In `on_event`: the triggers.
    #[serde(deserialize_with = "tolerant::deserialize")]
    pub triggers: Vec<RecordingTrigger>,
    /// Whether the camera is being recorded now.
    pub recording: bool,
    /// The end of the current event or of the requested recording; null without one. A `continuous` recording
    /// or a `time_lapse` continues after it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub event_until: Option<Timestamp>,
    /// The reason why the recording is paused; null if it is not.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub paused: Option<String>,
    /// The number of recorded frames.
    pub frames: u64,
    /// The size of the recording's files in bytes.
    pub bytes: u64,
    /// The capture time of the oldest frame; null without one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub oldest_at: Option<Timestamp>,
    /// The capture time of the newest frame; null without one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub newest_at: Option<Timestamp>,
    /// The number of frames since the hub's start that could not be recorded: the disk was too slow, full or
    /// broken.
    pub skipped: u64,
}

impl Recording {
    /// The state of a camera with these settings that has no recorded frames.
    #[must_use]
    pub fn new(settings: RecordingSettings) -> Self {
        let RecordingSettings { mode, every_secs, before_secs, after_secs, keep_days, keep_bytes, triggers } =
            settings;
        Self {
            mode,
            every_secs,
            before_secs,
            after_secs,
            keep_days,
            keep_bytes,
            triggers,
            recording: false,
            event_until: None,
            paused: None,
            frames: 0,
            bytes: 0,
            oldest_at: None,
            newest_at: None,
            skipped: 0,
        }
    }
}

/// An uninterrupted part of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Clip {
    /// Identifies the clip among those of its camera.
    pub id: String,
    /// The capture time of its first frame that still exists.
    pub begun_at: Timestamp,
    /// The capture time of its last frame.
    pub ended_at: Timestamp,
    /// The number of its frames.
    pub frames: u64,
    /// The size of its files in bytes.
    pub bytes: u64,
    /// The reason for the recording.
    pub reason: String,
}

impl Clip {
    /// A clip without frames.
    #[must_use]
    pub fn new(id: String, begun_at: Timestamp, ended_at: Timestamp, reason: impl Into<String>) -> Self {
        Self { id, begun_at, ended_at, frames: 0, bytes: 0, reason: reason.into() }
    }
}

/// The frame to select for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FrameSelection {
    /// The closest frame.
    #[default]
    Nearest,
    /// The first frame after it.
    Next,
    /// The last frame before it.
    Previous,
}

/// A request to record now.
///
/// ```
/// use std::time::Duration;
/// use iotpi_core::model::recording::StartRecording;
///
/// let request = StartRecording::new(Duration::from_secs(60)).with_reason("a parcel arrived");
/// assert_eq!(request.secs, 60);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StartRecording {
    /// The duration in seconds, 1 to 3,600. Default 30.
    #[serde(default = "after_secs")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 3_600))]
    pub secs: u32,
    /// The reason, up to 200 characters; by default the name of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, max_length = 200))]
    pub reason: Option<String>,
}

impl StartRecording {
    /// A recording of this duration, 1 s to 1 h, rounded down to seconds.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        Self { secs: duration.as_secs().try_into().unwrap_or(u32::MAX), reason: None }
    }

    /// Sets the reason, up to [`MAX_RECORDING_REASON`] characters.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_except_the_mode_has_a_default() {
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
        let motion = RecordingTrigger::on_reading("door".parse().unwrap(), "motion".parse().unwrap());
        let on = RecordingTrigger::on_action("led".parse().unwrap(), "on".parse().unwrap());
        assert_eq!(triggers, [motion.above(0.5), on]);
    }
}
