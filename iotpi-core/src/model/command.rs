//! Commands: what a person asks of a module, how it is handed over, and how it ended.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    model::id::{ActionName, ModuleId, UserName},
    time::Timestamp,
};

/// A command nobody says otherwise of lives this long, in seconds.
pub const DEFAULT_EXPIRES_IN_SECS: f64 = 60.0;
/// The most characters of an [`Outcome`](CommandOutcome) error that are kept.
pub const MAX_ERROR_LEN: usize = 500;

/// Identifies one command; a UUID version 7, so ids sort by creation.
pub type CommandId = String;
/// Proves the claim on a command; opaque, and known to nobody but the one that claimed.
pub type LeaseId = String;

/// Where a command is in its life: `queued -> leased -> succeeded | failed | rejected`, or `expired | cancelled | dead |
/// unknown_outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// Stored, waiting for its module.
    Queued,
    /// Handed to the module, which has not said yet how it ended.
    Leased,
    /// Done.
    Succeeded,
    /// Tried, and it did not work.
    Failed,
    /// Refused by the module.
    Rejected,
    /// Its time to live ended before it was done.
    Expired,
    /// Taken back before the module had it.
    Cancelled,
    /// Handed over again and again, and never an outcome.
    Dead,
    /// Begun, and nobody knows how it ended: it is not done again.
    UnknownOutcome,
}

impl CommandState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Leased,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::Dead,
        Self::UnknownOutcome,
    ];

    /// The state's wire word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
            Self::UnknownOutcome => "unknown_outcome",
        }
    }

    /// Whether nothing more will happen to it.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Leased)
    }
}

/// What to do: an action of the module's manifest with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Which of the manifest's actions.
    pub name: ActionName,
    /// Its parameters, as the manifest's schema has them.
    pub params: Map<String, Value>,
}

/// The body of `POST /api/modules/{id}/control`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewCommand {
    /// Which of the manifest's actions.
    pub action: ActionName,
    /// Its parameters; checked against the manifest's schema.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub params: Map<String, Value>,
    /// Seconds until it is no longer to be done: 1 to 86,400; 60 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 86400))]
    pub expires_in: Option<f64>,
}

impl NewCommand {
    /// A command with the default time to live.
    #[must_use]
    pub fn new(action: ActionName, params: Map<String, Value>) -> Self {
        Self { action, params, expires_in: None }
    }
}

/// One command and its life so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Command {
    /// Identifies it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: CommandId,
    /// Whom it is for.
    pub module_id: ModuleId,
    /// Which of the manifest's actions.
    pub action: ActionName,
    /// Its parameters.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub params: Map<String, Value>,
    /// Where it is in its life.
    pub state: CommandState,
    /// Who asked for it.
    pub issued_by: UserName,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// After this moment it is no longer to be done.
    pub expires_at: Timestamp,
    /// When it was last handed to the module.
    pub leased_at: Option<Timestamp>,
    /// When the module said that it begins: from then on it is not handed over again.
    pub started_at: Option<Timestamp>,
    /// When its last state was reached.
    pub finished_at: Option<Timestamp>,
    /// How often it was handed to the module.
    pub attempts: u32,
    /// What the module answered, if it succeeded.
    #[cfg_attr(feature = "openapi", schema(value_type = Value))]
    pub result: Option<Value>,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// The newer command that made this one pointless, if it was cancelled for that.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub superseded_by: Option<CommandId>,
}

/// A command in the hands of its module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeasedCommand {
    /// The command.
    #[serde(flatten)]
    pub command: Command,
    /// Proves the claim; to be sent with the outcome.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub lease: LeaseId,
    /// Seconds the claim holds, from hand-over.
    pub lease_secs: f64,
    /// Seconds until it is no longer to be done, from hand-over: no clock has to agree.
    pub expires_in: f64,
    /// Whether the module has to say `started`, and hear that the hub took it, before it acts.
    #[serde(default)]
    pub hazardous: bool,
}

/// What became of a command, as the module says it.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandOutcome {
    /// About to be done. Said before a hazardous action is begun; it is begun only when the hub took it.
    Started,
    /// Done.
    Succeeded {
        /// Any JSON.
        result: Option<Value>,
    },
    /// Tried, and it did not work.
    Failed {
        /// Why, up to 500 characters.
        error: String,
    },
    /// Not tried: the module will not or cannot.
    Rejected {
        /// Why, up to 500 characters.
        error: String,
    },
    /// Begun, and the module does not know how it ended: it was interrupted.
    UnknownOutcome {
        /// What is known, up to 500 characters.
        error: String,
    },
}

impl CommandOutcome {
    /// The state a command with this outcome is in.
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

    /// Why it did not succeed, if it did not.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Failed { error } | Self::Rejected { error } | Self::UnknownOutcome { error } => Some(error),
            Self::Started | Self::Succeeded { .. } => None,
        }
    }
}

/// What a module says of one command it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "CommandReportRecord", into = "CommandReportRecord")]
pub struct CommandReport {
    /// Which command.
    pub id: CommandId,
    /// The claim it was handed over under.
    pub lease: LeaseId,
    /// What became of it.
    pub outcome: CommandOutcome,
}

/// What a module says of one command it holds, as it goes over the wire: flat, told apart by `outcome`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = CommandReport))]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub enum CommandReportRecord {
    /// About to be done; to be said before a hazardous action, which is begun only when the hub took it.
    Started {
        /// Which command.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        id: CommandId,
        /// The claim it was handed over under.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        lease: LeaseId,
    },
    /// Done.
    Succeeded {
        /// Which command.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        id: CommandId,
        /// The claim it was handed over under.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        lease: LeaseId,
        /// What came of it: any JSON.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Value))]
        result: Option<Value>,
    },
    /// Tried, and it did not work.
    Failed {
        /// Which command.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        id: CommandId,
        /// The claim it was handed over under.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        lease: LeaseId,
        /// Why.
        #[cfg_attr(feature = "openapi", schema(max_length = 500))]
        error: String,
    },
    /// Not tried: the module will not or cannot.
    Rejected {
        /// Which command.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        id: CommandId,
        /// The claim it was handed over under.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        lease: LeaseId,
        /// Why.
        #[cfg_attr(feature = "openapi", schema(max_length = 500))]
        error: String,
    },
    /// Begun, and the module does not know how it ended.
    UnknownOutcome {
        /// Which command.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        id: CommandId,
        /// The claim it was handed over under.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        lease: LeaseId,
        /// What is known.
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

/// The body of `POST /api/modules/{id}/status`; an empty one is a heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StatusReport {
    /// The module's whole present state, an object of up to 16 KiB; the last one wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub state: Option<Map<String, Value>>,
    /// What became of one command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<CommandReportRecord>))]
    pub command: Option<CommandReport>,
    /// One of the module's commands with a `while_alive` limit: the answer says how long its issuer counts as there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub watch: Option<CommandId>,
}

/// The hub's answer to a [`StatusReport`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatusReceipt {
    /// When the hub took it in.
    pub received_at: Timestamp,
    /// The command reported on, as it now is.
    pub command: Option<Command>,
    /// Whether the hub has the module's manifest; if not, the module registers again.
    pub registered: bool,
    /// Seconds for which the issuer of the `watch`ed command still counts as there, from the answer on: 0 when it is
    /// gone. Left out when nothing was watched, or the hub knows no such command with a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alive_secs: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_states_word_is_its_wire_form() {
        for state in CommandState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn a_report_reads_as_documented() {
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
