//! The live protocol: what a client and the hub say over `/api/live`. `docs/ref/live.md` is its reference.

use serde::{Deserialize, Serialize};

use crate::{CameraInfo, Command, ModuleId, ModuleInfo, Problem, Reading, SensorType, Timestamp};

/// The most bytes of a client's message.
pub const MAX_LIVE_MESSAGE_BYTES: usize = 4096;
/// The most names in each list of a [`Subscription`].
pub const MAX_SUBSCRIPTION_NAMES: usize = 64;
/// The most recent readings of a series a [`Subscription`] may ask for.
pub const MAX_RECENT: u32 = 1000;

/// What a live client says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LiveRequest {
    /// Replaces the client's subscription.
    Subscribe(Subscription),
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
    /// The client said something that was not understood.
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
            r#"{"type":"reading","seq":1,"reading":{"module_id":"a","type":"soil","value":1.0,"unit":"x","timestamp":1795472000.0}}"#,
        ] {
            let message: LiveMessage = serde_json::from_str(text).unwrap();

            let sent: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_value(&message).unwrap(), sent);
        }
    }

    #[test]
    fn a_bare_subscribe_wants_everything() {
        let LiveRequest::Subscribe(everything) = serde_json::from_str(r#"{"type":"subscribe"}"#).unwrap();

        assert_eq!(everything, Subscription::default());
        let event = Event::ModuleRemoved { module_id: ModuleId::new("led").unwrap() };
        assert!(event.is_wanted_by(&everything));
        assert!(!event.is_wanted_by(&Subscription { kinds: Some(vec![EventKind::Reading]), ..everything }));
    }
}
