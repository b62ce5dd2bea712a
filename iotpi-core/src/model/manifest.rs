//! The manifest: a module's description of its measures, its actions and its camera.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    model::{
        gap::Delivery,
        id::{ActionName, Channel, InvalidId, ModuleId, SensorType},
        protocol::ProtocolVersion,
        reading::SeriesSpec,
        tolerant,
        unit::Unit,
        word::words,
    },
    time::{Timestamp, duration},
};

/// The maximum number of measures, and of actions, in a manifest.
pub const MAX_MANIFEST_ENTRIES: usize = 64;
/// The maximum length of a description in characters.
pub const MAX_DESCRIPTION_LEN: usize = 500;
/// The default heartbeat interval in seconds.
pub const DEFAULT_HEARTBEAT_SECS: f64 = 10.0;

/// A module's description of itself. The hub checks commands against it, and the dashboard's forms are
/// derived from it.
///
/// ```
/// use iotpi_core::{ActionSpec, Manifest, Quantity, model::manifest::Measure};
///
/// let manifest = Manifest::new()
///     .with_description("The boiler in the basement")
///     .with_measures([Measure::new(Quantity::Temperature, None)])
///     .with_actions([ActionSpec::named("heat")?]);
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// The version of the protocol that the module uses; 1 if absent.
    #[serde(default = "ProtocolVersion::first", skip_serializing_if = "ProtocolVersion::is_first")]
    pub protocol: ProtocolVersion,
    /// The module's own version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    pub version: Option<String>,
    /// One sentence for the dashboard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    pub description: Option<String>,
    /// The measured quantities, up to 64.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub measures: Vec<Measure>,
    /// The actions, up to 64.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub actions: Vec<ActionSpec>,
    /// The camera, if the module has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraSpec>,
    /// The heartbeat interval in seconds, 1 to 3,600; 10 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 3600))]
    pub heartbeat_secs: Option<f64>,
}

impl Manifest {
    /// A manifest without measures, actions and a camera.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the module's own version.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets the sentence for the dashboard.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets the measured quantities.
    #[must_use]
    pub fn with_measures(mut self, measures: impl IntoIterator<Item = Measure>) -> Self {
        self.measures = measures.into_iter().collect();
        self
    }

    /// Sets the actions.
    #[must_use]
    pub fn with_actions(mut self, actions: impl IntoIterator<Item = ActionSpec>) -> Self {
        self.actions = actions.into_iter().collect();
        self
    }

    /// Sets the camera.
    #[must_use]
    pub fn with_camera(mut self, camera: CameraSpec) -> Self {
        self.camera = Some(camera);
        self
    }

    /// Sets the heartbeat interval, 1 s to 1 h.
    #[must_use]
    pub fn with_heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat_secs = Some(interval.as_secs_f64());
        self
    }

    /// Parses a manifest as a hub stored or returned it. It ignores unknown fields, which a newer hub may
    /// have written; [`Deserialize`] refuses them, because a module may have misspelt them.
    ///
    /// # Errors
    /// [`serde_json::Error`] if the text is not JSON or a known field is missing or has the wrong type.
    pub fn from_stored_json(json: &str) -> Result<Self, serde_json::Error> {
        tolerant::from_json(json)
    }

    /// The heartbeat interval.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        Duration::try_from_secs_f64(self.heartbeat_secs.unwrap_or(DEFAULT_HEARTBEAT_SECS))
            .unwrap_or(Duration::from_secs(10))
    }

    /// Finds an action by its name.
    #[must_use]
    pub fn action(&self, name: &ActionName) -> Option<&ActionSpec> {
        self.actions.iter().find(|a| &a.name == name)
    }

    /// Adds the measures, actions and camera of another manifest. The texts of this one have precedence.
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

/// A quantity that a module measures.
///
/// ```
/// use std::time::Duration;
/// use iotpi_core::{Quantity, model::manifest::Measure};
///
/// let pressure = Measure::new(Quantity::Pressure, Some(Duration::from_secs(10)));
/// assert_eq!((pressure.unit.as_str(), pressure.every_secs), ("pascal", Some(10.0)));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Measure {
    /// The `{type}` of its series.
    #[serde(rename = "type")]
    pub kind: SensorType,
    /// The channel, if the module has several sensors of this type; absent for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub channel: Option<Channel>,
    /// The unit of its series.
    pub unit: Unit,
    /// The interval between measurements in seconds, if it is regular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(exclusive_minimum = 0))]
    pub every_secs: Option<f64>,
}

impl Measure {
    /// A quantity that is measured at an interval, or at no fixed times.
    #[must_use]
    pub fn new(series: impl Into<SeriesSpec>, every: Option<Duration>) -> Self {
        let SeriesSpec { quantity, channel } = series.into();
        let every_secs = every.map(|d| d.as_secs_f64());
        Self { kind: quantity.name(), channel, unit: quantity.unit(), every_secs }
    }

    /// The interval between measurements, if it is regular.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.every_secs.map(duration)
    }
}

/// An action that a module offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ActionSpec {
    /// The name of the action in a command.
    pub name: ActionName,
    /// One sentence for the dashboard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    pub description: Option<String>,
    /// The JSON Schema (2020-12) of an object: the action's parameters.
    #[serde(default = "any_object")]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub params: Map<String, Value>,
    /// Whether running it twice does harm. The module reports `started` before it acts, and the command then
    /// runs at most once.
    #[serde(default)]
    pub hazardous: bool,
    /// Whether the newest command makes older ones obsolete ("40 %", not "10 % more"). It then supersedes
    /// older commands of the same action and `target` that are still queued.
    #[serde(default, skip_serializing_if = "is_false")]
    pub absolute: bool,
    /// For an absolute action: the parameter that distinguishes targets, such as `channel`. Without it there
    /// is one target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 64))]
    pub target: Option<String>,
    /// The effect may last only while the issuer is present: the seconds, 1 to 3,600, for which the issuer or
    /// the hub may be absent before the module puts the device into its safe state. The module also does so
    /// at its start.
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
    /// An action whose parameters match a JSON Schema of an object. A value that is not an object means any
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

    /// An action of this name without a description and with any parameters, to be completed by the other
    /// methods.
    ///
    /// ```
    /// use std::time::Duration;
    /// use iotpi_core::ActionSpec;
    ///
    /// let heat = ActionSpec::named("heat")?.hazardous().while_alive(Duration::from_secs(60));
    /// assert!(heat.hazardous);
    /// # Ok::<(), iotpi_core::model::id::InvalidId>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidId`] if the name does not match `[a-z0-9][a-z0-9_-]{0,63}`.
    pub fn named(name: &str) -> Result<Self, InvalidId> {
        Ok(Self { description: None, ..Self::new(ActionName::new(name)?, "", Value::Null) })
    }

    /// Sets the description, one sentence for the dashboard.
    #[must_use]
    pub fn described(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Marks the action as hazardous: it runs at most once.
    #[must_use]
    pub fn hazardous(mut self) -> Self {
        self.hazardous = true;
        self
    }

    /// Marks the action as absolute: a newer command supersedes older ones that are still queued.
    #[must_use]
    pub fn absolute(mut self) -> Self {
        self.absolute = true;
        self
    }

    /// Marks the action as absolute for each value of this parameter.
    #[must_use]
    pub fn absolute_for(mut self, parameter: impl Into<String>) -> Self {
        self.absolute = true;
        self.target = Some(parameter.into());
        self
    }

    /// Limits the effect to the presence of its issuer and of the hub, which may be absent for 1 s to 1 h.
    #[must_use]
    pub fn while_alive(mut self, limit: Duration) -> Self {
        self.while_alive = Some(limit.as_secs_f64());
        self
    }

    /// The time for which issuer or hub may be absent, if the action has such a limit.
    #[must_use]
    pub fn alive_limit(&self) -> Option<Duration> {
        self.while_alive.and_then(|secs| Duration::try_from_secs_f64(secs).ok())
    }

    /// A key for the target of an absolute command: commands with the same key supersede each other. `None`
    /// if the action is not absolute.
    #[must_use]
    pub fn target_of(&self, params: &Map<String, Value>) -> Option<String> {
        self.absolute.then(|| {
            let value = self.target.as_ref().and_then(|name| params.get(name));
            value.map_or_else(String::new, Value::to_string)
        })
    }
}

impl TryFrom<&str> for ActionSpec {
    type Error = InvalidId;

    /// As [`ActionSpec::named`].
    fn try_from(name: &str) -> Result<Self, InvalidId> {
        Self::named(name)
    }
}

/// The frames that a camera delivers.
///
/// ```
/// use iotpi_core::CameraSpec;
///
/// let hd = CameraSpec::new(1280, 720, 15.0);
/// assert_eq!((hd.width, hd.height, hd.fps), (1280, 720, 15.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CameraSpec {
    /// The width in pixels, 1 to 8,192.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 8192))]
    pub width: u32,
    /// The height in pixels, 1 to 8,192.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 8192))]
    pub height: u32,
    /// The intended frame rate in frames a second, up to 1,000.
    #[cfg_attr(feature = "openapi", schema(exclusive_minimum = 0, maximum = 1000))]
    pub fps: f64,
}

impl CameraSpec {
    /// Frames of this size in pixels at `fps` frames a second.
    #[must_use]
    pub const fn new(width: u32, height: u32, fps: f64) -> Self {
        Self { width, height, fps }
    }
}

words! {
    /// The health of a module, derived from the time since its last contact and its heartbeat interval.
    ///
    /// ```
    /// use std::time::Duration;
    /// use iotpi_core::model::manifest::Health;
    ///
    /// let silence = Some(Duration::from_secs(30));
    /// assert_eq!(Health::of(silence, Duration::from_secs(10)), Health::Late);
    /// ```
    Health {
        /// Last contact within 2.5 heartbeat intervals.
        Online = "online",
        /// Last contact within 6 heartbeat intervals.
        Late = "late",
        /// No contact for longer.
        Offline = "offline",
        /// No contact since the hub knows the module.
        Unknown = "unknown",
    }
}

impl Health {
    /// The health of a module after this time without contact.
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

/// A module as the hub reports it.
///
/// ```
/// use iotpi_core::{Timestamp, model::manifest::{Health, ModuleInfo}};
///
/// let attic = ModuleInfo::new("attic".parse()?, Timestamp::MIN);
/// assert_eq!((attic.health, attic.manifest), (Health::Unknown, None));
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ModuleInfo {
    /// The id of the module.
    pub id: ModuleId,
    /// The manifest; null if the module never registered.
    #[serde(default, deserialize_with = "tolerant::deserialize")]
    pub manifest: Option<Manifest>,
    /// The health of the module.
    pub health: Health,
    /// The time of the last contact.
    pub last_seen_at: Option<Timestamp>,
    /// The time of the first contact.
    pub registered_at: Timestamp,
    /// The last reported state.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub state: Option<Map<String, Value>>,
    /// The time at which the state was reported.
    pub state_at: Option<Timestamp>,
    /// The account of its numbered readings; null if it does not number them.
    #[serde(default)]
    pub delivery: Option<Delivery>,
}

impl ModuleInfo {
    /// A module that never registered and has unknown health.
    #[must_use]
    pub fn new(id: ModuleId, registered_at: Timestamp) -> Self {
        Self {
            id,
            manifest: None,
            health: Health::Unknown,
            last_seen_at: None,
            registered_at,
            state: None,
            state_at: None,
            delivery: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_manifest_is_valid() {
        assert_eq!(serde_json::from_str::<Manifest>("{}").unwrap(), Manifest::default());
        assert!(serde_json::from_str::<Manifest>(r#"{"mesures": []}"#).is_err());
    }

    #[test]
    fn commands_for_different_targets_are_distinguished() {
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
    fn health_follows_from_the_time_since_the_last_contact() {
        let beat = Duration::from_secs(10);

        let at = |secs| Health::of(Some(Duration::from_secs(secs)), beat);

        assert_eq!(
            [at(0), at(25), at(26), at(60), at(61)],
            [Health::Online, Health::Online, Health::Late, Health::Late, Health::Offline]
        );
        assert_eq!(Health::of(None, beat), Health::Unknown);
    }
}
