//! Commands: their life cycle, their delivery to a module, and their outcome.

pub use super::{
    command_id::{CommandId, LeaseId},
    idempotency_key::{IdempotencyKey, InvalidIdempotencyKey, MAX_IDEMPOTENCY_KEY_LEN},
};

use std::time::Duration;

use serde::{Deserialize, Serialize, ser};
use serde_json::{Map, Value};

use crate::{
    model::{
        id::{ActionName, ModuleId, UserName},
        word::words,
    },
    time::{Timestamp, duration},
};

/// The default lifetime of a command in seconds.
pub const DEFAULT_EXPIRES_IN_SECS: f64 = 60.0;
/// The maximum length of the error of a [`CommandOutcome`], in characters; longer ones are truncated.
pub const MAX_ERROR_LEN: usize = 500;

words! {
    /// The state of a command: `queued -> leased -> succeeded | failed | rejected`, or `expired | cancelled |
    /// dead | unknown_outcome`.
    CommandState {
        /// Stored, waiting for its module.
        Queued = "queued",
        /// Delivered to the module, which has not reported the outcome yet.
        Leased = "leased",
        /// The action succeeded.
        Succeeded = "succeeded",
        /// The action was tried and failed.
        Failed = "failed",
        /// The module refused the command.
        Rejected = "rejected",
        /// The lifetime ended before the command was run.
        Expired = "expired",
        /// Cancelled before the module received it.
        Cancelled = "cancelled",
        /// Delivered several times without an outcome.
        Dead = "dead",
        /// Started, and the outcome is unknown. It is not run again.
        UnknownOutcome = "unknown_outcome",
    }
}

impl CommandState {
    /// Whether the state is final. False for [`Other`](Self::Other): [`Command::is_finished`] is right for
    /// the states of a newer hub, too.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Leased | Self::Other)
    }
}

/// An action of the module's manifest with its parameters.
///
/// ```
/// use iotpi_core::Action;
/// use serde_json::{Map, json};
///
/// let dim = Action::new("dim".parse()?, Map::from_iter([("brightness".to_owned(), json!(40))]));
/// assert_eq!(dim.params["brightness"], 40);
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Action {
    /// The name of the action in the manifest.
    pub name: ActionName,
    /// The parameters, which match the schema in the manifest.
    pub params: Map<String, Value>,
}

impl Action {
    /// An action with its parameters.
    #[must_use]
    pub fn new(name: ActionName, params: Map<String, Value>) -> Self {
        Self { name, params }
    }
}

/// The body of `POST /api/modules/{id}/control`.
///
/// ```
/// use std::time::Duration;
/// use iotpi_core::NewCommand;
/// use serde_json::json;
///
/// let stop = NewCommand::new("stop".parse()?);
/// let dim = NewCommand::new("dim".parse()?)
///     .with_params(json!({"brightness": 40}))?
///     .with_lifetime(Duration::from_secs(10));
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NewCommand {
    /// The name of an action in the module's manifest.
    pub action: ActionName,
    /// The parameters of the action; checked against the schema in the manifest.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub params: Map<String, Value>,
    /// The lifetime in seconds, 1 to 86,400; 60 by default. After it the command is not started any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 86400))]
    pub expires_in: Option<f64>,
}

impl NewCommand {
    /// A command without parameters, with the default lifetime.
    #[must_use]
    pub fn new(action: ActionName) -> Self {
        Self { action, params: Map::new(), expires_in: None }
    }

    /// Sets the parameters: a JSON object, a map, or a record with the parameters as its fields.
    ///
    /// ```
    /// use iotpi_core::NewCommand;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Heat {
    ///     watts: u32,
    /// }
    ///
    /// let heat = NewCommand::new("heat".parse()?).with_params(Heat { watts: 500 })?;
    /// assert_eq!(heat.params["watts"], 500);
    /// assert!(NewCommand::new("heat".parse()?).with_params(500).is_err());
    /// # Ok::<(), iotpi_core::AnyError>(())
    /// ```
    ///
    /// # Errors
    /// [`serde_json::Error`] if the value cannot be serialized, or not to a JSON object.
    pub fn with_params(mut self, params: impl Serialize) -> Result<Self, serde_json::Error> {
        self.params = match serde_json::to_value(params)? {
            Value::Object(params) => params,
            other => {
                return Err(ser::Error::custom(format!("the parameters are a JSON object, not {other}")));
            }
        };
        Ok(self)
    }

    /// Sets the lifetime, 1 s to 1 day.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.expires_in = Some(lifetime.as_secs_f64());
        self
    }

    /// The lifetime; [`DEFAULT_EXPIRES_IN_SECS`] by default.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        duration(self.expires_in.unwrap_or(DEFAULT_EXPIRES_IN_SECS))
    }
}

/// A command and its current state.
///
/// ```
/// use iotpi_core::{NewCommand, Timestamp, model::command::{Command, CommandState}};
///
/// let new = NewCommand::new("stop".parse()?);
/// let command = Command::new("c1".into(), "blind".parse()?, new, "anna".parse()?, Timestamp::MIN);
/// assert_eq!((command.state, command.is_finished()), (CommandState::Queued, false));
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Command {
    /// The id of the command.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: CommandId,
    /// The module that runs the command.
    pub module_id: ModuleId,
    /// The name of an action in the module's manifest.
    pub action: ActionName,
    /// The parameters of the action.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub params: Map<String, Value>,
    /// The current state.
    pub state: CommandState,
    /// The user or token that sent the command.
    pub issued_by: UserName,
    /// The time at which the command was created.
    pub created_at: Timestamp,
    /// The time after which the command is not started any more.
    pub expires_at: Timestamp,
    /// The time of the last delivery to the module.
    pub leased_at: Option<Timestamp>,
    /// The time at which the module reported that it starts the action. From then on the command is not
    /// delivered again.
    pub started_at: Option<Timestamp>,
    /// The time at which the command reached its final state.
    pub finished_at: Option<Timestamp>,
    /// The number of deliveries to the module.
    pub attempts: u32,
    /// The module's answer, if the command succeeded.
    #[cfg_attr(feature = "openapi", schema(value_type = Value))]
    pub result: Option<Value>,
    /// The reason why the command did not succeed.
    pub error: Option<String>,
    /// The id of the newer command that superseded this one, if it was cancelled for that reason.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub superseded_by: Option<CommandId>,
}

impl Command {
    /// A command that was just created: queued, and not delivered yet.
    #[must_use]
    pub fn new(
        id: CommandId,
        module_id: ModuleId,
        new: NewCommand,
        issued_by: UserName,
        created_at: Timestamp,
    ) -> Self {
        let expires_at = created_at.plus(new.lifetime());
        Self {
            id,
            module_id,
            action: new.action,
            params: new.params,
            state: CommandState::Queued,
            issued_by,
            created_at,
            expires_at,
            leased_at: None,
            started_at: None,
            finished_at: None,
            attempts: 0,
            result: None,
            error: None,
            superseded_by: None,
        }
    }

    /// Whether the command is in a final state.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.is_final() || self.finished_at.is_some()
    }
}

/// A command with the lease under which the module runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct LeasedCommand {
    /// The command and its state.
    #[serde(flatten)]
    pub command: Command,
    /// The id of the lease, which the module sends with the outcome.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub lease: LeaseId,
    /// The duration of the lease in seconds, from its delivery.
    pub lease_secs: f64,
    /// The rest of the lifetime in seconds, from its delivery. It does not depend on the clocks' agreement.
    pub expires_in: f64,
    /// Whether the module must report `started`, and get the hub's confirmation, before it acts.
    #[serde(default)]
    pub hazardous: bool,
}

impl LeasedCommand {
    /// A command under a lease, with the duration of the lease and the rest of the command's lifetime.
    #[must_use]
    pub fn new(command: Command, lease: LeaseId, duration: Duration, expires_in: Duration) -> Self {
        Self {
            command,
            lease,
            lease_secs: duration.as_secs_f64(),
            expires_in: expires_in.as_secs_f64(),
            hazardous: false,
        }
    }

    /// The duration of the lease, from its delivery.
    #[must_use]
    pub fn lease_duration(&self) -> Duration {
        duration(self.lease_secs)
    }

    /// The rest of the command's lifetime, from its delivery.
    #[must_use]
    pub fn remaining_lifetime(&self) -> Duration {
        duration(self.expires_in)
    }
}

/// The outcome of a command as the module reports it.
///
/// ```
/// use iotpi_core::model::command::{CommandOutcome, CommandState};
///
/// let outcome = CommandOutcome::Rejected { error: "the door is open".to_owned() };
/// assert_eq!(outcome.state(), CommandState::Rejected);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CommandOutcome {
    /// About to start. The module reports it before a hazardous action and starts only after the hub's
    /// confirmation.
    Started,
    /// The action succeeded.
    Succeeded {
        /// The result, any JSON value.
        result: Option<Value>,
    },
    /// The action was tried and failed.
    Failed {
        /// The reason, up to 500 characters.
        error: String,
    },
    /// Not tried: the module refused the command.
    Rejected {
        /// The reason, up to 500 characters.
        error: String,
    },
    /// Started and interrupted: the module does not know the outcome.
    UnknownOutcome {
        /// The known facts, up to 500 characters.
        error: String,
    },
}

impl CommandOutcome {
    /// The state of a command with this outcome.
    #[must_use]
    pub fn state(&self) -> CommandState {
        match self {
            Self::Started => CommandState::Leased,
            Self::Succeeded { .. } => CommandState::Succeeded,
            Self::Failed { .. } => CommandState::Failed,
            Self::Rejected { .. } => CommandState::Rejected,
            Self::UnknownOutcome { .. } => CommandState::UnknownOutcome,
        }
    }

    /// The reason why the command did not succeed, if it did not.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Failed { error } | Self::Rejected { error } | Self::UnknownOutcome { error } => Some(error),
            Self::Started | Self::Succeeded { .. } => None,
        }
    }
}

/// A module's report on a command that it has leased.
///
/// ```
/// use iotpi_core::model::command::{CommandOutcome, CommandReport, StatusReport};
///
/// let report = CommandReport::new("c1".into(), "l1".into(), CommandOutcome::Started);
/// let report = StatusReport::new().with_command(report);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "CommandReportRecord", into = "CommandReportRecord")]
#[non_exhaustive]
pub struct CommandReport {
    /// The id of the command.
    pub id: CommandId,
    /// The lease under which the command was delivered.
    pub lease: LeaseId,
    /// The outcome.
    pub outcome: CommandOutcome,
}

impl CommandReport {
    /// A report of this outcome.
    #[must_use]
    pub fn new(id: CommandId, lease: LeaseId, outcome: CommandOutcome) -> Self {
        Self { id, lease, outcome }
    }
}

/// A [`CommandReport`] in its wire format: flat, with `outcome` as the tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = CommandReport))]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum CommandReportRecord {
    /// About to start. The module reports it before a hazardous action and starts only after the hub's
    /// confirmation.
    Started {
        /// The id of the command.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        id: CommandId,
        /// The lease under which the command was delivered.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        lease: LeaseId,
    },
    /// The action succeeded.
    Succeeded {
        /// The id of the command.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        id: CommandId,
        /// The lease under which the command was delivered.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        lease: LeaseId,
        /// The result, any JSON value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Value))]
        result: Option<Value>,
    },
    /// The action was tried and failed.
    Failed {
        /// The id of the command.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        id: CommandId,
        /// The lease under which the command was delivered.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        lease: LeaseId,
        /// The reason.
        #[cfg_attr(feature = "openapi", schema(max_length = 500))]
        error: String,
    },
    /// Not tried: the module refused the command.
    Rejected {
        /// The id of the command.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        id: CommandId,
        /// The lease under which the command was delivered.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        lease: LeaseId,
        /// The reason.
        #[cfg_attr(feature = "openapi", schema(max_length = 500))]
        error: String,
    },
    /// Started and interrupted: the module does not know the outcome.
    UnknownOutcome {
        /// The id of the command.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        id: CommandId,
        /// The lease under which the command was delivered.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        lease: LeaseId,
        /// The known facts.
        #[cfg_attr(feature = "openapi", schema(max_length = 500))]
        error: String,
    },
}

impl From<CommandReport> for CommandReportRecord {
    fn from(CommandReport { id, lease, outcome }: CommandReport) -> Self {
        match outcome {
            CommandOutcome::Started => Self::Started { id, lease },
            CommandOutcome::Succeeded { result } => Self::Succeeded { id, lease, result },
            CommandOutcome::Failed { error } => Self::Failed { id, lease, error },
            CommandOutcome::Rejected { error } => Self::Rejected { id, lease, error },
            CommandOutcome::UnknownOutcome { error } => Self::UnknownOutcome { id, lease, error },
        }
    }
}

impl From<CommandReportRecord> for CommandReport {
    fn from(record: CommandReportRecord) -> Self {
        match record {
            CommandReportRecord::Started { id, lease } => {
                Self { id, lease, outcome: CommandOutcome::Started }
            }
            CommandReportRecord::Succeeded { id, lease, result } => {
                Self { id, lease, outcome: CommandOutcome::Succeeded { result } }
            }
            CommandReportRecord::Failed { id, lease, error } => {
                Self { id, lease, outcome: CommandOutcome::Failed { error } }
            }
            CommandReportRecord::Rejected { id, lease, error } => {
                Self { id, lease, outcome: CommandOutcome::Rejected { error } }
            }
            CommandReportRecord::UnknownOutcome { id, lease, error } => {
                Self { id, lease, outcome: CommandOutcome::UnknownOutcome { error } }
            }
        }
    }
}

/// The body of `POST /api/modules/{id}/status`. An empty report is a heartbeat.
///
/// ```
/// use iotpi_core::model::command::StatusReport;
/// use serde_json::{Map, json};
///
/// let heartbeat = StatusReport::new();
/// let state = StatusReport::new().with_state(Map::from_iter([("on".to_owned(), json!(true))]));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StatusReport {
    /// The module's complete state, an object of up to 16 KiB. It replaces the state before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub state: Option<Map<String, Value>>,
    /// The outcome of one command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<CommandReportRecord>))]
    pub command: Option<CommandReport>,
    /// The id of a command of the module with a `while_alive` limit. The answer says how long its issuer
    /// counts as present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub watch: Option<CommandId>,
}

impl StatusReport {
    /// An empty report, which is a heartbeat.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reports the module's complete state.
    #[must_use]
    pub fn with_state(mut self, state: Map<String, Value>) -> Self {
        self.state = Some(state);
        self
    }

    /// Reports the outcome of a command.
    #[must_use]
    pub fn with_command(mut self, command: CommandReport) -> Self {
        self.command = Some(command);
        self
    }

    /// Asks how long the issuer of a command counts as present.
    #[must_use]
    pub fn with_watch(mut self, command: CommandId) -> Self {
        self.watch = Some(command);
        self
    }
}

/// The hub's answer to a [`StatusReport`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct StatusReceipt {
    /// The time at which the hub received the report.
    pub received_at: Timestamp,
    /// The reported command in its current state.
    pub command: Option<Command>,
    /// Whether the hub has the module's manifest. If not, the module registers again.
    pub registered: bool,
    /// The seconds, from the answer on, for which the issuer of the command in `watch` still counts as
    /// present; 0 if it is gone. Absent if the report has no `watch`, or the hub knows no such command with a
    /// limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alive_secs: Option<f64>,
}

impl StatusReceipt {
    /// The answer to a report without a command, from a module whose manifest the hub has.
    #[must_use]
    pub fn new(received_at: Timestamp) -> Self {
        Self { received_at, command: None, registered: true, alive_secs: None }
    }

    /// The time from the answer on for which the issuer of the watched command still counts as present.
    #[must_use]
    pub fn issuer_presence(&self) -> Option<Duration> {
        self.alive_secs.map(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_parsed_as_documented() {
        let report: StatusReport = serde_json::from_str(
            r#"{"state": {"on": true}, "command": {"id": "c", "lease": "l", "outcome": "succeeded", "result": {"on": true}}}"#,
        )
        .unwrap();

        let command = report.command.unwrap();
        assert_eq!((command.id.as_str(), command.lease.as_str()), ("c", "l"));
        assert_eq!(command.outcome.state(), CommandState::Succeeded);
        assert_eq!(serde_json::from_str::<StatusReport>("{}").unwrap(), StatusReport::default());
        let misspelt = r#"{"command": {"id": "c", "lease": "l", "outcome": "succeeded", "results": 1}}"#;
        assert!(serde_json::from_str::<StatusReport>(misspelt).is_err());
    }
}
