//! What a module says of itself: what it measures, which actions it obeys, whether it has a camera.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    model::{
        gap::Delivery,
        id::{ActionName, ModuleId, SensorType},
        reading::Quantity,
        unit::Unit,
    },
    time::Timestamp,
};

/// The most measures, and the most actions, a manifest may have.
pub const MAX_MANIFEST_ENTRIES: usize = 64;
/// How often a module lets the hub know it is there, when its manifest does not say.
pub const DEFAULT_HEARTBEAT_SECS: f64 = 10.0;

/// What a module offers. The hub checks commands against it; the API page and the dashboard's forms follow from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The module's own version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    pub version: Option<String>,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    pub description: Option<String>,
    /// What it measures, up to 64.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub measures: Vec<Measure>,
    /// What it can be told to do, up to 64.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub actions: Vec<ActionSpec>,
    /// Its camera, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraSpec>,
    /// Seconds between signs of life, 1 to 3,600; 10 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 3600))]
    pub heartbeat_secs: Option<f64>,
}

impl Manifest {
    /// The time between signs of life.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        Duration::try_from_secs_f64(self.heartbeat_secs.unwrap_or(DEFAULT_HEARTBEAT_SECS))
            .unwrap_or(Duration::from_secs(10))
    }

    /// The action of that name.
    #[must_use]
    pub fn action(&self, name: &ActionName) -> Option<&ActionSpec> {
        self.actions.iter().find(|a| &a.name == name)
    }

    /// This manifest with another's measures, actions and camera added; this one's texts win.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.version = self.version.or(other.version);
        self.description = self.description.or(other.description);
        self.measures.extend(other.measures);
        self.actions.extend(other.actions);
        self.camera = self.camera.or(other.camera);
        self.heartbeat_secs = match (self.heartbeat_secs, other.heartbeat_secs) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self
    }
}

/// One thing a module measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The `{type}` of its series.
    #[serde(rename = "type")]
    pub kind: SensorType,
    /// The unit of its series.
    pub unit: Unit,
    /// Seconds from one measurement to the next, if it has a rhythm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(exclusive_minimum = 0))]
    pub every_secs: Option<f64>,
}

impl Measure {
    /// A quantity measured in a rhythm, or at no fixed times.
    #[must_use]
    pub fn new(quantity: &Quantity, every: Option<Duration>) -> Self {
        Self { kind: quantity.name(), unit: quantity.unit(), every_secs: every.map(|d| d.as_secs_f64()) }
    }
}

/// One thing a module can be told to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ActionSpec {
    /// Its name in a command.
    pub name: ActionName,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    pub description: Option<String>,
    /// A JSON Schema (2020-12) of an object: the action's parameters.
    #[serde(default = "any_object")]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub params: Map<String, Value>,
    /// Whether doing it twice does harm: the module says `started` before it acts, and the command is then done at most
    /// once.
    #[serde(default)]
    pub hazardous: bool,
    /// Whether the newest order says it all ("40 %", not "10 % more"): it then supersedes an older one that is still
    /// queued, of the same action and `target`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub absolute: bool,
    /// Of an absolute action: the parameter that tells targets apart, such as `channel`. Without it the module has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 64))]
    pub target: Option<String>,
    /// What it does may last only while somebody watches: seconds, 1 to 3,600, that its issuer or the hub may be gone
    /// before the module makes itself safe. It does so at its start, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 3600))]
    pub while_alive: Option<f64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

fn any_object() -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), Value::from("object"))])
}

impl ActionSpec {
    /// An action whose parameters follow a JSON Schema; give it an object schema. Anything but an object means any
    /// parameters.
    #[must_use]
    pub fn new(name: ActionName, description: impl Into<String>, params: Value) -> Self {
        let params = match params {
            Value::Object(schema) => schema,
            _ => any_object(),
        };
        Self {
            name,
            description: Some(description.into()),
            params,
            hazardous: false,
            absolute: false,
            target: None,
            while_alive: None,
        }
    }

    /// The same, to be done at most once.
    #[must_use]
    pub fn hazardous(mut self) -> Self {
        self.hazardous = true;
        self
    }

    /// The same, with every order saying it all: the newest supersedes those before it that still wait.
    #[must_use]
    pub fn absolute(mut self) -> Self {
        self.absolute = true;
        self
    }

    /// The same, absolute for each value of that parameter.
    #[must_use]
    pub fn absolute_for(mut self, parameter: impl Into<String>) -> Self {
        self.absolute = true;
        self.target = Some(parameter.into());
        self
    }

    /// The same, with what it does lasting only while its issuer and the hub are there: 1 s to 1 h may they be gone.
    #[must_use]
    pub fn while_alive(mut self, limit: Duration) -> Self {
        self.while_alive = Some(limit.as_secs_f64());
        self
    }

    /// How long issuer or hub may be gone, if that matters.
    #[must_use]
    pub fn alive_limit(&self) -> Option<Duration> {
        self.while_alive.and_then(|secs| Duration::try_from_secs_f64(secs).ok())
    }

    /// What tells the targets of an absolute order apart: orders with the same text supersede each other. Nothing when
    /// the action is not absolute.
    #[must_use]
    pub fn target_of(&self, params: &Map<String, Value>) -> Option<String> {
        self.absolute.then(|| {
            let value = self.target.as_ref().and_then(|name| params.get(name));
            value.map_or_else(String::new, Value::to_string)
        })
    }
}

/// What a camera will deliver.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CameraSpec {
    /// Pixels, 1 to 8,192.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 8192))]
    pub width: u32,
    /// Pixels, 1 to 8,192.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 8192))]
    pub height: u32,
    /// Frames a second it aims at, up to 1,000.
    #[cfg_attr(feature = "openapi", schema(exclusive_minimum = 0, maximum = 1000))]
    pub fps: f64,
}

/// Whether a module is there, derived from when it was last heard and how often it promised to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Heard within 2.5 heartbeats.
    Online,
    /// Heard within 6 heartbeats.
    Late,
    /// Not heard for longer.
    Offline,
    /// Never heard since the hub knows of it.
    Unknown,
}

impl Health {
    /// The health of a module last heard so long ago.
    #[must_use]
    pub fn of(silence: Option<Duration>, heartbeat: Duration) -> Self {
        match silence {
            None => Self::Unknown,
            Some(silence) if silence <= heartbeat.mul_f64(2.5) => Self::Online,
            Some(silence) if silence <= heartbeat.mul_f64(6.0) => Self::Late,
            Some(_) => Self::Offline,
        }
    }
}

/// A module as the hub knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModuleInfo {
    /// Its id.
    pub id: ModuleId,
    /// What it said of itself; null when it never registered.
    pub manifest: Option<Manifest>,
    /// Whether it is there.
    pub health: Health,
    /// When it was last heard.
    pub last_seen_at: Option<Timestamp>,
    /// When the hub first knew of it.
    pub registered_at: Timestamp,
    /// The last state it reported.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub state: Option<Map<String, Value>>,
    /// When it reported that state.
    pub state_at: Option<Timestamp>,
    /// How many of its numbered readings arrived; null when it does not number them.
    #[serde(default)]
    pub delivery: Option<Delivery>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_manifest_is_a_manifest() {
        assert_eq!(serde_json::from_str::<Manifest>("{}").unwrap(), Manifest::default());
        assert!(serde_json::from_str::<Manifest>(r#"{"mesures": []}"#).is_err());
    }

    #[test]
    fn orders_of_one_target_are_told_apart_from_those_of_another() {
        let params = |value: Value| value.as_object().cloned().unwrap_or_default();
        let set = ActionSpec::new(ActionName::new("set").unwrap(), "Set it", Value::Null);
        let [one, two, none] =
            [serde_json::json!({"channel": 1}), serde_json::json!({"channel": 2}), Value::Null];

        let by_channel = set.clone().absolute_for("channel");
        assert_eq!(set.target_of(&params(one.clone())), None);
        assert_eq!(set.absolute().target_of(&params(one.clone())), Some(String::new()));
        assert_eq!(by_channel.target_of(&params(one)).as_deref(), Some("1"));
        assert_eq!(by_channel.target_of(&params(two)).as_deref(), Some("2"));
        assert_eq!(by_channel.target_of(&params(none)).as_deref(), Some(""));
    }

    #[test]
    fn health_follows_from_the_silence() {
        let beat = Duration::from_secs(10);

        let at = |secs| Health::of(Some(Duration::from_secs(secs)), beat);

        assert_eq!(
            [at(0), at(25), at(26), at(60), at(61)],
            [Health::Online, Health::Online, Health::Late, Health::Late, Health::Offline]
        );
        assert_eq!(Health::of(None, beat), Health::Unknown);
    }
}
