//! Commands: what a person asks of a module, how it is handed over, and how it ended.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ActionName, ModuleId, Timestamp, UserName};

/// A command nobody says otherwise of lives this long, in seconds.
pub const DEFAULT_EXPIRES_IN_SECS: f64 = 60.0;
/// The most characters of an [`Outcome`](CommandOutcome) error that are kept.
pub const MAX_ERROR_LEN: usize = 500;

/// Identifies one command; a UUID version 7, so ids sort by creation.
pub type CommandId = String;
/// Proves the claim on a command; opaque, and known to nobody but the one that claimed.
pub type LeaseId = String;

/// Where a command is in its life: `queued -> leased -> succeeded | failed | rejected`, or `expired | cancelled | dead`.
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
}

impl CommandState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Leased,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::Dead,
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
    /// When its last state was reached.
    pub finished_at: Option<Timestamp>,
    /// How often it was handed to the module.
    pub attempts: u32,
    /// What the module answered, if it succeeded.
    #[cfg_attr(feature = "openapi", schema(value_type = Value))]
    pub result: Option<Value>,
    /// Why it did not succeed.
    pub error: Option<String>,
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
}

/// How a command ended, as the module says it.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandOutcome {
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
}

impl CommandOutcome {
    /// The state a command with this outcome is in.
    #[must_use]
    pub fn state(&self) -> CommandState {
        match self {
            Self::Succeeded { .. } => CommandState::Succeeded,
            Self::Failed { .. } => CommandState::Failed,
            Self::Rejected { .. } => CommandState::Rejected,
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
    /// How it ended.
    pub outcome: CommandOutcome,
}

/// What a module says of one command it holds, as it goes over the wire: flat, told apart by `outcome`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = CommandReport))]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub enum CommandReportRecord {
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
}

impl From<CommandReport> for CommandReportRecord {
    fn from(CommandReport { id, lease, outcome }: CommandReport) -> Self {
        match outcome {
            CommandOutcome::Succeeded { result } => Self::Succeeded { id, lease, result },
            CommandOutcome::Failed { error } => Self::Failed { id, lease, error },
            CommandOutcome::Rejected { error } => Self::Rejected { id, lease, error },
        }
    }
}

impl From<CommandReportRecord> for CommandReport {
    fn from(record: CommandReportRecord) -> Self {
        match record {
            CommandReportRecord::Succeeded { id, lease, result } => {
                Self { id, lease, outcome: CommandOutcome::Succeeded { result } }
            }
            CommandReportRecord::Failed { id, lease, error } => {
                Self { id, lease, outcome: CommandOutcome::Failed { error } }
            }
            CommandReportRecord::Rejected { id, lease, error } => {
                Self { id, lease, outcome: CommandOutcome::Rejected { error } }
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
    /// How one command ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<CommandReportRecord>))]
    pub command: Option<CommandReport>,
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
