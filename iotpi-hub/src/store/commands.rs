//! Commands in the store.

use std::time::Duration;

use async_trait::async_trait;
use iotpi_core::{Command, CommandId, CommandReport, LeasedCommand, ModuleId, NewCommand, Page, UserName};
use serde_json::{Map, Value};

use super::{Now, PageRequest, Result, Steady};

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

/// The result of a module's report on a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// The command after the report.
    pub command: Command,
    /// Whether the report changed it: a repeated one does not.
    pub is_new: bool,
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
    /// Errors: [`StoreError::NotFound`] (the module); [`StoreError::LimitReached`] if `max_waiting` commands
    /// of the module have not ended; [`StoreError::Conflict`] if the id exists, or the key belongs to a
    /// different request.
    async fn submit(&self, order: &CommandOrder, max_waiting: u64, now: Now) -> Result<SubmitOutcome>;

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
    /// [`CommandOutcome::Started`](iotpi_core::CommandOutcome::Started) records that the command was started: it
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
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] if it is not queued any more.
    async fn cancel(&self, id: &CommandId, now: Now) -> Result<Command>;

    /// Expires commands whose lifetime has ended; queues those whose lease has ended again, or marks them
    /// dead after `max_attempts` leases. A started command becomes `unknown_outcome` when its lease ends.
    /// While a lease is valid its command is unchanged, even after its lifetime: it may have run, and the
    /// outcome counts. `changed` is in order of submission.
    async fn sweep_commands(&self, terms: LeaseTerms, now: Now) -> Result<Sweep>;

    /// After a start: limits every deadline to the command's whole lifetime from now, and every lease to a
    /// whole lease, whatever the clock did meanwhile.
    async fn clamp_deadlines(&self, terms: LeaseTerms, now: Now) -> Result<()>;

    /// Deletes ended commands, oldest first, in a step of bounded size, with their idempotency keys. Returns
    /// their number: less than `step` if none is left. Age is measured from the end of the newest command or
    /// from now, whichever is earlier, so a clock that jumps ahead makes no command old.
    async fn prune_commands(&self, history: CommandHistory, now: Now) -> Result<u64>;
}
