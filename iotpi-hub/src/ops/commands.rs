//! Commands: checked against the manifest, delivered under a lease, published in every state.

use std::time::Duration;

use iotpi_core::{
    ModuleId, NewCommand,
    model::{
        command::{
            Command, CommandId, CommandState, DEFAULT_EXPIRES_IN_SECS, LeasedCommand, MAX_ERROR_LEN,
            StatusReceipt, StatusReport,
        },
        event::Event,
    },
};
use serde_json::{Map, Value};

use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    ops::authorization::{Authorization, authorization_ended},
    quotas::json_bytes,
    store::{CommandHistory, CommandSubmission, LeaseTerms, Steady},
};

/// The terms of a lease.
pub(crate) const TERMS: LeaseTerms = LeaseTerms { lease: Duration::from_secs(30), max_attempts: 5 };
/// The time for which a command is kept after its end, with its idempotency key.
pub(crate) const KEEP_COMMANDS: Duration = Duration::from_secs(30 * 86_400);
/// The maximum number of ended commands of one module.
pub(crate) const MAX_ENDED: u64 = 10_000;
/// The maximum length of an idempotency key.
pub(crate) const MAX_KEY_LEN: usize = 64;
/// This many bytes of a state count as one reading.
const READING_BYTES: usize = 64;
/// The maximum size of a command's parameters as JSON, in bytes.
pub(crate) const MAX_PARAMS_BYTES: u64 = 16 * 1024;
/// The maximum time a claim waits.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(60);
/// The maximum number of commands in one claim.
pub(crate) const MAX_CLAIM: u32 = 16;

/// A module that waits for commands is present: its last contact is updated at this interval.
const HEARD_WHILE_WAITING: Duration = Duration::from_secs(5);

/// The number of ended commands deleted in one commit.
const PRUNE_STEP: u32 = 200;
/// Wall and steady time that differ by less than this count as not adjusted.
const CLOCKS_AGREE: Duration = Duration::from_secs(3600);

impl Hub {
    /// Sends a command to a module.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound` (the module), `Unprocessable` (not in the manifest, not valid by its
    /// schema, an impossible lifetime), `TooLarge`, `RateLimited` (`limits.commands_waiting`), the store's.
    ///
    /// # Cancel safety
    /// Stored completely or not at all.
    pub async fn submit(
        &self,
        caller: &Caller,
        module_id: &ModuleId,
        command: NewCommand,
    ) -> Result<Command> {
        self.submit_keyed(caller, module_id, command, None).await
    }

    /// Sends a command with an idempotency key of 1 to 64 visible ASCII characters: a repeated request with
    /// the same key, by the same name for the same module, returns the first command in its current state.
    /// The key is kept as long as the command.
    ///
    /// # Errors
    /// As [`Self::submit`]; `InvalidArgument` (the key), `Conflict` (the key belongs to a different request).
    ///
    /// # Cancel safety
    /// May be repeated.
    pub async fn submit_once(
        &self,
        caller: &Caller,
        module_id: &ModuleId,
        command: NewCommand,
        key: String,
    ) -> Result<Command> {
        if !(1..=MAX_KEY_LEN).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HubError::invalid_argument("a key has 1 to 64 visible ASCII characters"));
        }
        self.submit_keyed(caller, module_id, command, Some(key)).await
    }

    async fn submit_keyed(
        &self,
        caller: &Caller,
        module_id: &ModuleId,
        command: NewCommand,
        idempotency_key: Option<String>,
    ) -> Result<Command> {
        caller.may_command()?;
        let issued_by = match caller.identity() {
            Some(who) => who.name.clone(),
            None => {
                return Err(HubError::unauthenticated(
                    "Commands need a known caller. Log in or send an API token.",
                ));
            }
        };
        let record =
            self.inner.store.module(module_id).await?.ok_or_else(|| HubError::no_module(module_id))?;
        let Some(manifest) = record.manifest else {
            return Err(HubError::unprocessable(format!(
                "Module `{module_id}` is not registered, so it accepts no commands."
            )));
        };
        let Some(action) = manifest.action(&command.action) else {
            let offered = manifest.actions.iter().map(|a| a.name.to_string()).collect();
            return Err(HubError::unprocessable(format!(
                "Module `{module_id}` has no action `{}`.",
                command.action
            ))
            .at("/action")
            .with_choices(offered));
        };
        check_size(&command.params, MAX_PARAMS_BYTES, "/params")?;
        let secs = command.expires_in.unwrap_or(DEFAULT_EXPIRES_IN_SECS);
        let time_to_live =
            Duration::try_from_secs_f64(secs).ok().filter(|_| (1.0..=86_400.0).contains(&secs)).ok_or_else(
                || HubError::unprocessable("`expires_in` must be 1 to 86,400 seconds.").at("/expires_in"),
            )?;
        self.inner
            .commands
            .checker
            .check_params(module_id, &action.name, &action.params, &command.params)
            .await?;
        self.apply_due_deadlines().await?;

        let now = self.now();
        let order = CommandSubmission {
            id: uuid::Uuid::now_v7().to_string().into(),
            module_id: module_id.clone(),
            hazardous: action.hazardous,
            target: action.target_of(&command.params),
            while_alive: action.alive_limit(),
            issuer: caller.issuer().map(str::to_owned),
            idempotency_key,
            command,
            time_to_live,
            issued_by,
        };
        let limit = self.config().limits.commands_waiting;
        let submission = self.inner.store.submit(&order, limit, now).await?;
        submission.superseded.iter().for_each(|older| self.publish_command(older));
        if submission.is_new {
            self.inner.commands.expect(Steady(now.steady.0.plus(time_to_live)));
            self.publish_command(&submission.command);
            self.inner.commands.notify(module_id);
        }
        Ok(submission.command)
    }

    /// Leases a module its next commands; waits up to `wait` for one.
    ///
    /// # Errors
    /// `PermissionDenied` (only for the module itself), the store's.
    ///
    /// # Cancel safety
    /// A cancelled claim may leave commands leased until their lease ends.
    pub async fn claim(
        &self,
        caller: &Caller,
        module_id: &ModuleId,
        limit: u32,
        wait: Duration,
    ) -> Result<Vec<LeasedCommand>> {
        self.claim_while(caller, None, module_id, limit, wait).await
    }

    /// Like [`Self::claim`], but leases nothing after the credential was revoked through the hub.
    pub(crate) async fn claim_authorized(
        &self,
        authorization: &Authorization,
        module_id: &ModuleId,
        limit: u32,
        wait: Duration,
    ) -> Result<Vec<LeasedCommand>> {
        self.claim_while(authorization.caller(), Some(authorization), module_id, limit, wait).await
    }

    async fn claim_while(
        &self,
        caller: &Caller,
        authorization: Option<&Authorization>,
        module_id: &ModuleId,
        limit: u32,
        wait: Duration,
    ) -> Result<Vec<LeasedCommand>> {
        caller.is_module(module_id)?;
        self.touch_module(caller, module_id).await?;
        let submitted = self.inner.commands.submitted(module_id);
        let patience = tokio::time::sleep(wait.min(MAX_WAIT));
        tokio::pin!(patience);
        loop {
            // Registered before the query, so that no notification between the two is missed.
            let notified = submitted.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            self.apply_due_deadlines().await?;
            if let Some(authorization) = authorization
                && !authorization.survives_revocations().await
            {
                return Err(authorization_ended());
            }
            let now = self.now();
            let claimed = self.inner.store.claim(module_id, limit.clamp(1, MAX_CLAIM), TERMS, now).await?;
            if !claimed.is_empty() {
                self.inner.commands.expect(Steady(now.steady.0.plus(TERMS.lease)));
                claimed.iter().for_each(|leased| self.publish_command(&leased.command));
                return Ok(claimed);
            }
            if wait.is_zero() {
                return Ok(claimed);
            }
            loop {
                tokio::select! {
                    () = &mut notified => break,
                    () = &mut patience => return Ok(claimed),
                    () = self.stopping().cancelled() => return Ok(claimed),
                    () = tokio::time::sleep(HEARD_WHILE_WAITING) => {
                        self.touch_known_module(module_id);
                    }
                }
            }
        }
    }

    /// Records a module's report on itself and on a command it has leased.
    ///
    /// # Errors
    /// `PermissionDenied`, `TooLarge`, `NotFound` (the command), `Conflict` (the lease has ended), the
    /// store's. The module's state is stored even if the part about the command fails.
    ///
    /// # Cancel safety
    /// The same report may be sent again.
    pub async fn report(
        &self,
        caller: &Caller,
        module_id: &ModuleId,
        report: StatusReport,
    ) -> Result<StatusReceipt> {
        caller.may_deliver_as(module_id)?;
        if let Some(state) = &report.state {
            let bytes = check_size(state, self.config().limits.state_bytes, "/state")?;
            self.check_delivery_rate(caller, std::iter::repeat_n(module_id, 1 + bytes / READING_BYTES))?;
        }
        if let Some(error) = report.command.as_ref().and_then(|c| c.outcome.error())
            && error.chars().count() > MAX_ERROR_LEN
        {
            return Err(HubError::invalid_argument("an error has up to 500 characters").at("/command/error"));
        }
        self.touch_module(caller, module_id).await?;
        if report.command.is_some() {
            self.apply_due_deadlines().await?;
        }
        let now = self.now();
        let mut command = None;
        if report.state.is_some() || report.command.is_some() {
            let (state, of_command) = (report.state.as_ref(), report.command.as_ref());
            let reported = self.inner.store.report(module_id, state, of_command, TERMS, now).await?;
            if state.is_some() {
                self.changed(module_id);
            }
            if let Some(reported) = reported.transpose()? {
                // A repeated report is published once.
                if reported.is_new {
                    self.publish_command(&reported.command);
                }
                self.inner.commands.notify(module_id);
                command = Some(reported.command);
            }
        }
        let registered = self.inner.presence.is_registered(module_id);
        let alive_secs = match &report.watch {
            Some(id) => self.issuer_alive_for(module_id, id).await?.map(|left| left.as_secs_f64()),
            None => None,
        };
        let mut receipt = StatusReceipt::new(now.wall);
        (receipt.command, receipt.registered, receipt.alive_secs) = (command, registered, alive_secs);
        Ok(receipt)
    }

    /// Cancels a command that is still queued.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound`, `Conflict`, the store's.
    ///
    /// # Cancel safety
    /// Cancelled or not.
    pub async fn cancel_command(&self, caller: &Caller, id: &CommandId) -> Result<Command> {
        caller.may_command()?;
        self.apply_due_deadlines().await?;
        let command = self.inner.store.cancel(id, self.now()).await?;
        self.publish_command(&command);
        self.inner.commands.notify(&command.module_id);
        Ok(command)
    }

    /// The time for which the issuer of a command still counts as present; `None` if the command does not
    /// depend on it.
    async fn issuer_alive_for(&self, module_id: &ModuleId, id: &CommandId) -> Result<Option<Duration>> {
        let watched = self.inner.store.watched_issuer(module_id, id).await?;
        let now = self.now().steady;
        Ok(watched.map(|watched| self.inner.issuers.alive_for(&watched.issuer, watched.while_alive, now)))
    }

    fn publish_command(&self, command: &Command) {
        self.inner.metrics.command(command.state);
        self.events().publish(Event::Command { command: command.clone() });
    }

    /// Applies the deadlines now if one is due, so that no answer depends on the timing of the background task.
    async fn apply_due_deadlines(&self) -> Result<()> {
        let due = self.inner.commands.due();
        if due.is_some_and(|due| due <= self.now().steady) { self.apply_deadlines().await } else { Ok(()) }
    }

    async fn apply_deadlines(&self) -> Result<()> {
        // An expiry scheduled during this one sets `due` again.
        self.inner.commands.clear_due();
        let now = self.now();
        let outcome = match self.inner.store.apply_deadlines(TERMS, now).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.inner.commands.expect(now.steady);
                return Err(error.into());
            }
        };
        for command in &outcome.changed {
            self.publish_command(command);
            // The command is queued again, or no longer blocks the next one.
            self.inner.commands.notify(&command.module_id);
            if command.state == CommandState::Dead {
                tracing::warn!(command = %command.id, module = %command.module_id, "a command is dead");
            }
        }
        if let Some(next) = outcome.next {
            self.inner.commands.expect(next);
        }
        Ok(())
    }

    /// The background task that ends lifetimes and leases on time.
    pub(crate) async fn run_deadlines(self) {
        const AFTER_A_FAILURE: Duration = Duration::from_secs(5);
        let mut outcome = self.apply_deadlines().await;
        loop {
            if let Err(error) = outcome {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the deadlines of commands could not be applied"
                );
                // Notifications are ignored here: a store that fails at once would keep this loop busy.
                tokio::select! {
                    () = self.stopping().cancelled() => return,
                    () = tokio::time::sleep(AFTER_A_FAILURE) => {}
                }
                outcome = self.apply_deadlines().await;
                continue;
            }
            let due = self.inner.commands.due();
            // Without a scheduled expiry only a notification wakes it; a day is long enough.
            let pause = due.map_or(Duration::from_secs(86_400), |due| due.0.since(self.now().steady.0));
            tokio::select! {
                () = self.stopping().cancelled() => return,
                () = self.inner.commands.due_changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            outcome = self.apply_due_deadlines().await;
        }
    }

    /// The background task that deletes ended commands, a few at a time.
    pub(crate) async fn prune_commands(self) {
        const EVERY: Duration = Duration::from_secs(600);
        const BETWEEN_STEPS: Duration = Duration::from_millis(100);
        // The first run is not at the start, which is busy enough.
        let mut pause = EVERY;
        loop {
            tokio::select! {
                () = self.stopping().cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = match self.prune_commands_once().await {
                Ok(gone) if gone >= u64::from(PRUNE_STEP) => BETWEEN_STEPS,
                Ok(_) => EVERY,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "old commands could not be forgotten"
                    );
                    EVERY
                }
            };
        }
    }

    /// Deletes one step of commands that ended long ago, or are too many. Returns their number.
    async fn prune_commands_once(&self) -> Result<u64> {
        let now = self.now();
        // A wall clock that was adjusted since the hub started says nothing about ages.
        let apart = now.wall.since(now.steady.0).max(now.steady.0.since(now.wall));
        let keep = (apart < CLOCKS_AGREE).then_some(KEEP_COMMANDS);
        let history = CommandHistory { keep, per_module: MAX_ENDED, step: PRUNE_STEP };
        Ok(self.inner.store.prune_commands(history, now).await?)
    }

    /// Evaluates everything that depends on the time again: for a test that has set the clock.
    #[cfg(feature = "testing")]
    pub(crate) fn reevaluate_time(&self) {
        self.detect_clock_step();
        self.inner.token_cache.invalidate();
        self.inner.commands.due_changed.notify_one();
        self.inner.module_changed.notify_one();
        self.inner.recordings.reevaluate_time();
    }
}

/// Returns the size of an object as JSON in bytes.
fn check_size(object: &Map<String, Value>, max_bytes: u64, pointer: &str) -> Result<usize> {
    let bytes = json_bytes(object);
    if bytes > max_bytes {
        return Err(HubError::too_large(format!("this has {bytes} bytes; up to {max_bytes} are accepted"))
            .at(pointer));
    }
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iotpi_core::{ActionName, Clock, Timestamp, model::id::UserName, time::ManualClock};

    use super::*;
    use crate::{Config, store};

    const DAY: Duration = Duration::from_secs(86_400);

    /// A hub on a clock that stands still, with a command that just ended.
    async fn hub() -> (Hub, Arc<ManualClock>) {
        let clock = ManualClock::at(Timestamp::from_micros(1_795_473_000_000_000));
        let store = store::open("sqlite::memory:").await.unwrap();
        let hub = Hub::start(Config::default(), store, clock.clone()).await.unwrap();
        end_one(&hub, "old").await;
        (hub, clock)
    }

    async fn end_one(hub: &Hub, id: &str) {
        let module_id = ModuleId::new("led").unwrap();
        let now = hub.now();
        hub.inner.store.touch(&[(module_id.clone(), now.wall)], now).await.unwrap();
        let order = CommandSubmission {
            id: id.into(),
            module_id,
            command: NewCommand::new(ActionName::new("set").unwrap()),
            time_to_live: DAY,
            issued_by: UserName::new("anna").unwrap(),
            issuer: None,
            idempotency_key: None,
            hazardous: false,
            target: None,
            while_alive: None,
        };
        hub.inner.store.submit(&order, 100, now).await.unwrap();
        hub.inner.store.cancel(&order.id, now).await.unwrap();
    }

    #[tokio::test]
    async fn a_command_is_kept_for_thirty_days_after_its_end() {
        let (hub, clock) = hub().await;

        clock.advance(30 * DAY);
        end_one(&hub, "new").await;
        assert_eq!(hub.prune_commands_once().await.unwrap(), 0);
        clock.advance(Duration::from_secs(1));
        end_one(&hub, "newer").await;
        assert_eq!(hub.prune_commands_once().await.unwrap(), 1);

        assert_eq!(hub.inner.store.command(&"old".into()).await.unwrap(), None);
        assert!(hub.inner.store.command(&"new".into()).await.unwrap().is_some());
        hub.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn a_clock_that_was_set_makes_no_command_old() {
        let (hub, clock) = hub().await;

        clock.step_to(clock.now().plus(3650 * DAY));
        end_one(&hub, "new").await;

        assert_eq!(hub.prune_commands_once().await.unwrap(), 0);
        hub.shutdown().await.unwrap();
    }
}
