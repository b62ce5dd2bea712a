//! The live protocol: the messages of client and hub on `/api/live`. `docs/ref/live.md` is the reference.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    model::{
        camera::CameraInfo,
        command::Command,
        error::Problem,
        id::{ModuleId, SensorType},
        manifest::ModuleInfo,
        reading::Reading,
    },
    time::Timestamp,
};

/// The maximum size of a client's message in bytes. Complete lists of the longest ids fit.
pub const MAX_LIVE_MESSAGE_BYTES: usize = 16 * 1024;
/// The maximum number of names in each list of a [`Subscription`].
pub const MAX_SUBSCRIPTION_NAMES: usize = 64;
/// The maximum number of readings for each series in [`LiveMessage::Recent`].
pub const MAX_RECENT: u32 = 1000;

/// The maximum number of cameras that a live client may watch.
pub const MAX_WATCHED_CAMERAS: usize = 64;
/// The maximum of [`WatchRequest::max_fps`], in frames a second.
pub const MAX_WATCHED_FPS: f64 = 60.0;

/// A message of a live client.
///
/// ```
/// use iotpi_core::model::event::{LiveRequest, Subscription};
///
/// let text = serde_json::to_string(&LiveRequest::Subscribe(Subscription::new()))?;
/// assert_eq!(text, r#"{"type":"subscribe","recent":1}"#);
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum LiveRequest {
    /// Replaces the client's subscription.
    Subscribe(Subscription),
    /// Replaces the list of watched cameras. The frames of a camera that stays in the list are not
    /// interrupted.
    Watch {
        /// The cameras, each at most once, 0 to 64.
        cameras: Vec<WatchRequest>,
    },
    /// Acknowledges a painted frame and the frames of its camera before it, so that the next one may be sent.
    Shown {
        /// The camera's module.
        module_id: ModuleId,
        /// The number of the frame.
        seq: u64,
    },
    /// Requests the hub's time, to compute the offset between the clocks.
    Time {
        /// The client's clock, in Unix seconds or any other unit. The hub returns it unchanged.
        client_time: f64,
    },
}

/// A camera that a live client watches.
///
/// ```
/// use iotpi_core::model::event::WatchRequest;
///
/// let porch = WatchRequest::new("porch".parse()?).with_max_fps(5.0);
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WatchRequest {
    /// The camera's module.
    pub module_id: ModuleId,
    /// The maximum frame rate in frames a second, above 0, up to 60. By default the acknowledgements limit
    /// the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fps: Option<f64>,
}

impl WatchRequest {
    /// Watches a camera without a maximum rate.
    #[must_use]
    pub fn new(module_id: ModuleId) -> Self {
        Self { module_id, max_fps: None }
    }

    /// Limits the frame rate, in frames a second: above 0, up to [`MAX_WATCHED_FPS`].
    #[must_use]
    pub fn with_max_fps(mut self, max_fps: f64) -> Self {
        self.max_fps = Some(max_fps);
        self
    }
}

/// Kinds of events a client can subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A reading was stored.
    Reading,
    /// A module registered, changed or was removed.
    Module,
    /// A command changed its state.
    Command,
    /// A camera delivers frames.
    Camera,
}

/// A filter of events. An absent list means all.
///
/// ```
/// use iotpi_core::model::event::{EventKind, Subscription};
///
/// let doors = Subscription::new().with_kinds([EventKind::Reading]).with_sensors(["motion".parse()?]);
/// assert!(doors.wants_series(&"door".parse()?, &"motion".parse()?));
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Subscription {
    /// The kinds of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<EventKind>>,
    /// The modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<Vec<ModuleId>>,
    /// The types of readings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensors: Option<Vec<SensorType>>,
    /// The number of newest readings of each matching series that are sent first, 0 to 1,000.
    #[serde(default = "one")]
    pub recent: u32,
}

fn one() -> u32 {
    1
}

impl Default for Subscription {
    fn default() -> Self {
        Self { kinds: None, modules: None, sensors: None, recent: one() }
    }
}

impl Subscription {
    /// A subscription to all events, with the newest reading of each series first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects events of these kinds.
    #[must_use]
    pub fn with_kinds(mut self, kinds: impl IntoIterator<Item = EventKind>) -> Self {
        self.kinds = Some(kinds.into_iter().collect());
        self
    }

    /// Selects events of these modules.
    #[must_use]
    pub fn with_modules(mut self, modules: impl IntoIterator<Item = ModuleId>) -> Self {
        self.modules = Some(modules.into_iter().collect());
        self
    }

    /// Selects readings of these types.
    #[must_use]
    pub fn with_sensors(mut self, sensors: impl IntoIterator<Item = SensorType>) -> Self {
        self.sensors = Some(sensors.into_iter().collect());
        self
    }

    /// Sets the number of newest readings of each matching series that are sent first, 0 to [`MAX_RECENT`].
    #[must_use]
    pub fn with_recent(mut self, recent: u32) -> Self {
        self.recent = recent;
        self
    }

    /// Whether events of this kind from this module match.
    #[must_use]
    pub fn wants(&self, kind: EventKind, module_id: &ModuleId) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
            && self.modules.as_ref().is_none_or(|modules| modules.contains(module_id))
    }

    /// Whether readings of this series match.
    #[must_use]
    pub fn wants_series(&self, module_id: &ModuleId, sensor: &SensorType) -> bool {
        self.wants(EventKind::Reading, module_id)
            && self.sensors.as_ref().is_none_or(|sensors| sensors.contains(sensor))
    }
}

/// A message of the hub to a live client.
///
/// ```
/// use iotpi_core::model::event::LiveMessage;
///
/// let text = r#"{"type":"time","client_time":1.5,"hub_time":1795473000.25}"#;
/// let LiveMessage::Time { client_time, .. } = serde_json::from_str(text)? else { unreachable!() };
/// assert_eq!(client_time, 1.5);
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LiveMessage {
    /// The first message.
    #[non_exhaustive]
    Hello {
        /// The hub's wall clock.
        hub_time: Timestamp,
        /// The hub's version.
        version: String,
    },
    /// The current state as of event `seq`, after each subscription and after a resync.
    #[non_exhaustive]
    Recent {
        /// The number of the newest event that the state includes.
        seq: u64,
        /// The newest readings of each matching series, oldest first.
        readings: Vec<Reading>,
        /// The matching modules.
        modules: Vec<ModuleInfo>,
        /// The matching cameras.
        cameras: Vec<CameraInfo>,
    },
    /// The client was too slow and missed events; a [`LiveMessage::Recent`] follows.
    #[non_exhaustive]
    Resync {
        /// The number of the newest missed event.
        seq: u64,
        /// The number of missed events.
        missed: u64,
    },
    /// The answer to [`LiveRequest::Time`].
    Time {
        /// The client's value of [`LiveRequest::Time`].
        client_time: f64,
        /// The hub's wall clock.
        hub_time: Timestamp,
    },
    /// A message of the client was not understood, or a watched camera does not exist.
    Problem {
        /// The error.
        problem: Problem,
    },
    /// An event.
    #[serde(untagged)]
    Event(NumberedEvent),
    /// A message of a type that this version does not know, from a newer hub.
    #[serde(untagged)]
    Unknown(UnknownMessage),
}

impl LiveMessage {
    /// A [`Hello`](Self::Hello).
    #[must_use]
    pub fn hello(hub_time: Timestamp, version: impl Into<String>) -> Self {
        Self::Hello { hub_time, version: version.into() }
    }

    /// A [`Resync`](Self::Resync).
    #[must_use]
    pub fn resync(seq: u64, missed: u64) -> Self {
        Self::Resync { seq, missed }
    }
}

/// The types of all known messages of a hub.
const KNOWN_TYPES: [&str; 10] = [
    "hello",
    "recent",
    "resync",
    "time",
    "problem",
    "reading",
    "module",
    "module_removed",
    "command",
    "camera",
];

/// A message or an event of a newer hub, of a type that this version does not know.
///
/// ```
/// use iotpi_core::model::event::UnknownMessage;
///
/// let message: UnknownMessage = serde_json::from_str(r#"{"type":"weather","sun":true}"#)?;
/// assert_eq!((message.kind.as_str(), &message.fields["sun"]), ("weather", &true.into()));
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "AnyMessage")]
#[non_exhaustive]
pub struct UnknownMessage {
    /// The type of the message.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its other fields.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

#[derive(Deserialize)]
struct AnyMessage {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl TryFrom<AnyMessage> for UnknownMessage {
    type Error = String;

    /// A message of a known type that could not be deserialized is malformed, not unknown.
    fn try_from(AnyMessage { kind, fields }: AnyMessage) -> Result<Self, String> {
        match KNOWN_TYPES.contains(&kind.as_str()) {
            true => Err(format!("a malformed message of type {kind}")),
            false => Ok(Self { kind, fields }),
        }
    }
}

/// An event with its number. Numbers rise by one from the hub's start.
///
/// ```
/// use iotpi_core::model::event::{Event, NumberedEvent};
///
/// let removed = NumberedEvent::new(7, Event::ModuleRemoved { module_id: "attic".parse()? });
/// assert_eq!(removed.event.module_id().as_str(), "attic");
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NumberedEvent {
    /// The number of the event.
    pub seq: u64,
    /// The event itself.
    #[serde(flatten)]
    pub event: Event,
}

impl NumberedEvent {
    /// An event with its number.
    #[must_use]
    pub fn new(seq: u64, event: Event) -> Self {
        Self { seq, event }
    }
}

/// A change in the hub.
///
/// ```
/// use iotpi_core::model::event::{Event, EventKind};
///
/// let event = Event::ModuleRemoved { module_id: "attic".parse()? };
/// assert_eq!(event.kind(), EventKind::Module);
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A reading was stored.
    Reading {
        /// The stored reading.
        reading: Reading,
    },
    /// A module registered, or its state or health changed.
    Module {
        /// The module in its current state.
        module: ModuleInfo,
    },
    /// A module was removed.
    ModuleRemoved {
        /// The id of the module.
        module_id: ModuleId,
    },
    /// A command changed its state.
    Command {
        /// The command in its current state.
        command: Command,
    },
    /// A camera delivers frames; at most one event a second for each camera.
    Camera {
        /// The camera in its current state.
        camera: CameraInfo,
    },
}

impl Event {
    /// The kind of the event.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Reading { .. } => EventKind::Reading,
            Self::Module { .. } | Self::ModuleRemoved { .. } => EventKind::Module,
            Self::Command { .. } => EventKind::Command,
            Self::Camera { .. } => EventKind::Camera,
        }
    }

    /// The module that the event is about.
    #[must_use]
    pub fn module_id(&self) -> &ModuleId {
        match self {
            Self::Reading { reading } => &reading.module_id,
            Self::Module { module } => &module.id,
            Self::ModuleRemoved { module_id } => module_id,
            Self::Command { command } => &command.module_id,
            Self::Camera { camera } => &camera.module_id,
        }
    }

    /// Whether a subscription includes the event.
    #[must_use]
    pub fn is_wanted_by(&self, subscription: &Subscription) -> bool {
        match self {
            Self::Reading { reading } => {
                subscription.wants_series(&reading.module_id, &reading.quantity.name())
            }
            other => subscription.wants(other.kind(), other.module_id()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_a_message_is_the_inverse_of_serializing() {
        for text in [
            r#"{"type":"hello","hub_time":1795472000.2,"version":"0.1.0"}"#,
            r#"{"type":"module_removed","seq":44,"module_id":"led"}"#,
            r#"{"type":"resync","seq":90,"missed":44}"#,
            r#"{"type":"time","client_time":12.5,"hub_time":1795472000.25}"#,
            r#"{"type":"reading","seq":1,"reading":{"module_id":"a","type":"soil","value":1.0,"unit":"x","timestamp":1795472000.0}}"#,
        ] {
            let message: LiveMessage = serde_json::from_str(text).unwrap();

            let sent: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_value(&message).unwrap(), sent);
        }
    }

    #[test]
    fn a_message_of_an_unknown_type_is_kept_and_a_malformed_one_is_an_error() {
        let text = r#"{"type":"firmware","seq":45,"module_id":"led","version":[2,0]}"#;

        let message: LiveMessage = serde_json::from_str(text).unwrap();

        let LiveMessage::Unknown(unknown) = &message else { panic!("{message:?}") };
        assert_eq!((unknown.kind.as_str(), &unknown.fields["seq"]), ("firmware", &45.into()));
        assert_eq!(serde_json::to_value(&message).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        for kind in KNOWN_TYPES {
            assert!(
                serde_json::from_value::<LiveMessage>(serde_json::json!({"type": kind})).is_err(),
                "{kind}"
            );
        }
        assert!(serde_json::from_str::<LiveMessage>(r#"{"seq":1}"#).is_err());
    }

    #[test]
    fn a_subscribe_without_filters_selects_everything() {
        let request = serde_json::from_str(r#"{"type":"subscribe"}"#).unwrap();

        let LiveRequest::Subscribe(everything) = request else { panic!("{request:?}") };
        assert_eq!(everything, Subscription::default());
        let event = Event::ModuleRemoved { module_id: ModuleId::new("led").unwrap() };
        assert!(event.is_wanted_by(&everything));
        assert!(!event.is_wanted_by(&Subscription { kinds: Some(vec![EventKind::Reading]), ..everything }));
    }
    #[test]
    fn unknown_fields_of_a_request_are_refused() {
        for text in [
            r#"{"type":"watch"}"#,
            r#"{"type":"watch","cameras":[],"fps":1}"#,
            r#"{"type":"watch","cameras":[{"module_id":"a","fps":1}]}"#,
            r#"{"type":"shown","module_id":"a","seq":-1}"#,
            r#"{"type":"shown","module_id":"a","seq":1,"at":2}"#,
            r#"{"type":"time"}"#,
            r#"{"type":"time","client_time":1e999}"#,
            r#"{"type":"subscribe","sensor":[]}"#,
        ] {
            assert!(serde_json::from_str::<LiveRequest>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn full_lists_of_the_longest_ids_fit_into_a_message() {
        let id = "x".repeat(crate::model::id::MAX_ID_LEN);
        let module_id = ModuleId::new(id.clone()).unwrap();
        let camera = WatchRequest { module_id: module_id.clone(), max_fps: Some(59.999_999_999_999_99) };
        let watch = LiveRequest::Watch { cameras: vec![camera; MAX_WATCHED_CAMERAS] };
        let subscribe = LiveRequest::Subscribe(Subscription {
            kinds: None,
            modules: Some(vec![module_id; MAX_SUBSCRIPTION_NAMES]),
            sensors: Some(vec![SensorType::new(id).unwrap(); MAX_SUBSCRIPTION_NAMES]),
            recent: MAX_RECENT,
        });

        for request in [watch, subscribe] {
            // Some clients send indented JSON.
            let text = serde_json::to_string_pretty(&request).unwrap();
            assert!(text.len() <= MAX_LIVE_MESSAGE_BYTES, "{}", text.len());
        }
    }
}
