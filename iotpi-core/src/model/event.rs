//! The live protocol: what a client and the hub say over `/api/live`. `docs/ref/live.md` is its reference.

use serde::{Deserialize, Serialize};

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

/// The most bytes of a client's message: full lists of the longest ids fit.
pub const MAX_LIVE_MESSAGE_BYTES: usize = 16 * 1024;
/// The most names in each list of a [`Subscription`].
pub const MAX_SUBSCRIPTION_NAMES: usize = 64;
/// The most recent readings of a series a [`Subscription`] may ask for.
pub const MAX_RECENT: u32 = 1000;

/// The most cameras a live client may watch at once.
pub const MAX_WATCHED_CAMERAS: usize = 64;
/// The most pictures a second of one camera a [`WatchRequest`] may limit itself to.
pub const MAX_WATCHED_FPS: f64 = 60.0;

/// What a live client says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum LiveRequest {
    /// Replaces the client's subscription.
    Subscribe(Subscription),
    /// Replaces the list of cameras whose pictures are sent. A camera that stays in the list is not interrupted.
    Watch {
        /// Each once, 0 to 64.
        cameras: Vec<WatchRequest>,
    },
    /// A picture was painted, so that the next may come. What came before it counts as painted too.
    Shown {
        /// Whose camera.
        module_id: ModuleId,
        /// The picture's number.
        seq: u64,
    },
    /// Asks for the hub's time, to learn how far its clock is from the client's.
    Time {
        /// The client's clock, in Unix seconds or whatever it counts; comes back as it was.
        client_time: f64,
    },
}

/// A camera a live client wants the pictures of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchRequest {
    /// Whose camera.
    pub module_id: ModuleId,
    /// At most so many pictures a second, over 0 to 60; as many as come and are acknowledged when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fps: Option<f64>,
}

/// Kinds of events a client can subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Readings that were stored.
    Reading,
    /// Modules that registered, changed or went.
    Module,
    /// Commands that entered a state.
    Command,
    /// Cameras that deliver.
    Camera,
}

/// Which events a client wants; what is left out means every one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Only these kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<EventKind>>,
    /// Only these modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<Vec<ModuleId>>,
    /// Of the readings, only these types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensors: Option<Vec<SensorType>>,
    /// How many of the newest readings of each matching series to send first, 0 to 1,000.
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
    /// Whether it wants events of that kind from that module.
    #[must_use]
    pub fn wants(&self, kind: EventKind, module_id: &ModuleId) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
            && self.modules.as_ref().is_none_or(|modules| modules.contains(module_id))
    }

    /// Whether it wants readings of that series.
    #[must_use]
    pub fn wants_series(&self, module_id: &ModuleId, sensor: &SensorType) -> bool {
        self.wants(EventKind::Reading, module_id)
            && self.sensors.as_ref().is_none_or(|sensors| sensors.contains(sensor))
    }
}

/// What the hub says to a live client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LiveMessage {
    /// First of all.
    Hello {
        /// The hub's wall clock.
        hub_time: Timestamp,
        /// The hub's version.
        version: String,
    },
    /// The present, as of event `seq`; after each subscribe and after a resync.
    Recent {
        /// The newest event this present contains.
        seq: u64,
        /// The newest readings of each matching series, oldest first.
        readings: Vec<Reading>,
        /// The matching modules.
        modules: Vec<ModuleInfo>,
        /// The matching cameras.
        cameras: Vec<CameraInfo>,
    },
    /// This client was too slow and missed events; a [`LiveMessage::Recent`] follows.
    Resync {
        /// The newest event missed.
        seq: u64,
        /// How many were missed.
        missed: u64,
    },
    /// The answer to [`LiveRequest::Time`].
    Time {
        /// What the client said.
        client_time: f64,
        /// The hub's wall clock.
        hub_time: Timestamp,
    },
    /// The client said something that was not understood, or a camera it watches is not there.
    Problem {
        /// What was wrong with it.
        problem: Problem,
    },
    /// One thing that happened.
    #[serde(untagged)]
    Event(NumberedEvent),
}

/// An event and its number; numbers rise by one from the hub's start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumberedEvent {
    /// Its number.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Something that happened in the hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A reading was stored.
    Reading {
        /// The reading.
        reading: Reading,
    },
    /// A module registered, or its state or health changed.
    Module {
        /// The module as it now is.
        module: ModuleInfo,
    },
    /// A module was removed.
    ModuleRemoved {
        /// Its id.
        module_id: ModuleId,
    },
    /// A command entered a state.
    Command {
        /// The command as it now is.
        command: Command,
    },
    /// A camera delivers; at most once a second for each.
    Camera {
        /// The camera as it now is.
        camera: CameraInfo,
    },
}

impl Event {
    /// What kind of event it is.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Reading { .. } => EventKind::Reading,
            Self::Module { .. } | Self::ModuleRemoved { .. } => EventKind::Module,
            Self::Command { .. } => EventKind::Command,
            Self::Camera { .. } => EventKind::Camera,
        }
    }

    /// The module it is about.
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

    /// Whether a subscription wants it.
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
    fn messages_read_back_as_what_was_sent() {
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
    fn a_bare_subscribe_wants_everything() {
        let request = serde_json::from_str(r#"{"type":"subscribe"}"#).unwrap();

        let LiveRequest::Subscribe(everything) = request else { panic!("{request:?}") };
        assert_eq!(everything, Subscription::default());
        let event = Event::ModuleRemoved { module_id: ModuleId::new("led").unwrap() };
        assert!(event.is_wanted_by(&everything));
        assert!(!event.is_wanted_by(&Subscription { kinds: Some(vec![EventKind::Reading]), ..everything }));
    }
    #[test]
    fn what_a_request_does_not_have_is_refused() {
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
    fn full_lists_of_the_longest_ids_fit_in_a_message() {
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
            // Indented, too, as some write it.
            let text = serde_json::to_string_pretty(&request).unwrap();
            assert!(text.len() <= MAX_LIVE_MESSAGE_BYTES, "{}", text.len());
        }
    }
}
