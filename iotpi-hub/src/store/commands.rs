//! Commands in the store.

use std::time::Duration;

use async_trait::async_trait;
use iotpi_core::{
    ModuleId, NewCommand,
    model::{
        command::{Command, CommandId, CommandReport, LeasedCommand},
        id::UserName,
        page::Page,
    },
};
use serde_json::{Map, Value};

use super::{Now, PageRequest, Result, Steady};

/// A command to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandSubmission {
    /// The id, which the operation has drawn.
    pub id: CommandId,
    /// The module that is to run it.
    pub module_id: ModuleId,
    /// The action and its parameters.
    pub command: NewCommand,
    /// The time from its submission to its expiry.
    pub time_to_live: Duration,
    /// The name of the user or token that issued it.
    pub issued_by: UserName,
    /// An identifier of the session or token that issued it; not its secret.
    pub issuer: Option<String>,
    /// The idempotency key: a repeated request with it returns this command.
    pub idempotency_key: Option<String>,
    /// Whether the module reports the start of the command.
    pub hazardous: bool,
    /// The target of an absolute action: the command supersedes queued ones with the same target.
    pub target: Option<String>,
    /// The maximum absence of its issuer; `None` if it does not depend on the issuer.
    pub while_alive: Option<Duration>,
}

/// The result of submitting a command.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmitOutcome {
    /// The new command, or the one that an earlier request with the same key created.
    pub command: Command,
    /// Whether the command is new.
    pub is_new: bool,
    /// The commands that it superseded, oldest first.
    pub superseded: Vec<Command>,
}

/// The result of a module's report on a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// The command after the report.
    pub command: Command,
    /// Whether the report changed it: a repeated one does not.
    pub is_new: bool,
}

/// The issuer on whose presence a command depends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedIssuer {
    /// An identifier of the session or token.
    pub issuer: String,
    /// The maximum absence of the issuer.
    pub while_alive: Duration,
}

/// The retention of ended commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandHistory {
    /// The time for which a command is kept after its end; `None`: no limit by age.
    pub keep: Option<Duration>,
    /// The maximum number of ended commands of one module.
    pub per_module: u64,
    /// The maximum number of commands deleted in one step.
    pub step: u32,
}

/// The terms under which commands are leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// The duration of a lease.
    pub lease: Duration,
    /// The number of leases without an outcome after which a command is dead.
    pub max_attempts: u32,
}

/// The changes made because deadlines have passed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeadlineChanges {
    /// The commands that expired, became dead, were queued again or have an unknown outcome.
    pub changed: Vec<Command>,
    /// The next deadline; `None` if no command waits.
    pub next: Option<Steady>,
}

/// Reads commands. The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait ReadCommands {
    /// One command.
    async fn command(&self, id: &CommandId) -> Result<Option<Command>>;

    /// A module's commands, newest first.
    async fn commands(&self, module_id: &ModuleId, page: &PageRequest) -> Result<Page<Command>>;

    /// The issuer on whose presence a command of that module depends, if there is one.
    async fn watched_issuer(&self, module_id: &ModuleId, id: &CommandId) -> Result<Option<WatchedIssuer>>;
}

/// Submits, leases and ends commands. The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait WriteCommands {
    /// Stores a command as queued. If an earlier command of the same issuer's name, module and request has
    /// the same idempotency key, nothing is stored and that command is returned. An absolute command cancels
    /// those of its action and target that are still queued; their places become free.
    ///
    /// Errors: [`NotFound`](super::StoreError::NotFound) (the module);
    /// [`LimitReached`](super::StoreError::LimitReached) if `max_waiting` commands of the module have not
    /// ended; [`Conflict`](super::StoreError::Conflict) if the id exists, or the key belongs to a different
    /// request.
    async fn submit(
        &self,
        submission: &CommandSubmission,
        max_waiting: u64,
        now: Now,
    ) -> Result<SubmitOutcome>;

    /// Leases the module's oldest commands, up to `limit`, each with its own new lease id; none while one of
    /// the module's commands is leased. Expired ones are never leased.
    async fn claim(
        &self,
        module_id: &ModuleId,
        limit: u32,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Vec<LeasedCommand>>;

    /// Stores a module's state, and its report on a command it has leased, in one commit; creates the module if
    /// necessary. Returns the result of the report on the command; the state is stored even if that is refused.
    ///
    /// [`CommandOutcome::Started`](iotpi_core::model::command::CommandOutcome::Started) records that the command was started: it
    /// will not be delivered again, and its lease is renewed. Every other outcome ends the command. A repeated
    /// report changes nothing.
    ///
    /// Errors of the report on the command: [`StoreError::NotFound`](super::StoreError::NotFound);
    /// [`StoreError::Conflict`](super::StoreError::Conflict) if the lease is not the command's current one, or,
    /// for a start, if the lease or the command's lifetime has ended, whether expiry has run or not.
    async fn report(
        &self,
        module_id: &ModuleId,
        state: Option<&Map<String, Value>>,
        command: Option<&CommandReport>,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Option<Result<Reported>>>;

    /// Cancels a command that is still queued.
    ///
    /// Errors: [`NotFound`](super::StoreError::NotFound); [`Conflict`](super::StoreError::Conflict) if it is
    /// not queued any more.
    async fn cancel(&self, id: &CommandId, now: Now) -> Result<Command>;

    /// Expires commands whose lifetime has ended; queues those whose lease has ended again, or marks them
    /// dead after `max_attempts` leases. A started command becomes `unknown_outcome` when its lease ends.
    /// While a lease is valid its command is unchanged, even after its lifetime: it may have run, and the
    /// outcome counts. `changed` is in order of submission.
    async fn apply_deadlines(&self, terms: LeaseTerms, now: Now) -> Result<DeadlineChanges>;

    /// After a start: limits every deadline to the command's whole lifetime from now, and every lease to a
    /// whole lease, whatever the clock did meanwhile.
    async fn clamp_deadlines(&self, terms: LeaseTerms, now: Now) -> Result<()>;

    /// Deletes ended commands, oldest first, in a step of bounded size, with their idempotency keys. Returns
    /// their number: less than `step` if none is left. Age is measured from the end of the newest command or
    /// from now, whichever is earlier, so a clock that jumps ahead makes no command old.
    async fn prune_commands(&self, history: CommandHistory, now: Now) -> Result<u64>;
}
