//! What the store takes and answers about commands.

use std::time::Duration;

use iotpi_core::{Command, CommandId, ModuleId, NewCommand, UserName};

use super::Steady;

/// A command to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandOrder {
    /// Made by the room.
    pub id: CommandId,
    /// For whom.
    pub module_id: ModuleId,
    /// What to do.
    pub command: NewCommand,
    /// How long it lives.
    pub time_to_live: Duration,
    /// By whom.
    pub issued_by: UserName,
    /// Which session or token issued it; names it without being its secret.
    pub issuer: Option<String>,
    /// The key under which the same request finds it again.
    pub idempotency_key: Option<String>,
    /// Whether the module has to say that it begins.
    pub hazardous: bool,
    /// Of an absolute action, which target it is for: it supersedes what waits for the same one.
    pub target: Option<String>,
    /// How long its issuer may be gone, if that matters.
    pub while_alive: Option<Duration>,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmitOutcome {
    /// The command: the new one, or that of the first request with the same key.
    pub command: Command,
    /// Whether it is a new one.
    pub is_new: bool,
    /// The commands it superseded, oldest first.
    pub superseded: Vec<Command>,
}

/// Whose presence a command depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedIssuer {
    /// The session or token.
    pub issuer: String,
    /// How long it may be gone.
    pub while_alive: Duration,
}

/// How much history of commands is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandHistory {
    /// How long a command is kept after its end; nothing: none goes for its age.
    pub keep: Option<Duration>,
    /// The most ended commands of one module.
    pub per_module: u64,
    /// The most commands that go in one step.
    pub step: u32,
}

/// How commands are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// How long a claim holds.
    pub lease: Duration,
    /// After so many claims without an outcome a command is dead.
    pub max_attempts: u32,
}

/// What a sweep of the commands changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sweep {
    /// The commands that entered a state: expired, dead, or back in the queue.
    pub changed: Vec<Command>,
    /// When the next one will be due, if nothing happens before.
    pub next: Option<Steady>,
}
