//! Commands: `queued -> leased -> succeeded | failed | rejected`, or `expired | cancelled | dead | unknown_outcome`.
//!
//! Every transition is one `UPDATE ... WHERE state = ...`, so a command whose state has changed meanwhile is not changed again. A
//! valid lease protects its command: a report in time counts, even if the command's lifetime has ended.

use std::time::Duration;

use async_trait::async_trait;
use iotpi_core::{
    ModuleId, NewCommand, Timestamp,
    model::command::{
        Command, CommandId, CommandOutcome, CommandReport, CommandState, LeaseId, LeasedCommand,
    },
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};

use super::{
    Sqlite,
    columns::{json, maybe_json, maybe_moment, maybe_parsed, micros, moment, parsed, word},
    failure::{EngineError, EngineResult},
    modules,
};
use crate::store::{
    BoxError, CommandHistory, CommandSubmission, DeadlineChanges, LeaseTerms, Now, Page, PageRequest,
    ReadCommands, Reported, Result, Steady, StoreError, SubmitOutcome, WatchedIssuer, WriteCommands,
    cursor::{self, List, hex},
};

const COLUMNS: &str = "id, module_id, action, params, state, issued_by, created_at_us, expires_at_us, leased_at_us, \
                       started_at_us, finished_at_us, attempts, result, error, superseded_by";

/// The error of a command that a newer one superseded.
const SUPERSEDED: &str = "superseded by a newer command for the same target before it started";
/// The error of a started command without an outcome.
const UNKNOWN: &str = "the module started the command and did not report its outcome";

/// See [`WriteCommands::submit`](crate::store::WriteCommands::submit).
pub(super) fn submit(
    db: &Connection,
    submission: &CommandSubmission,
    max_waiting: u64,
    now: Now,
) -> EngineResult<SubmitOutcome> {
    let module = submission.module_id.as_str();
    if !db.prepare_cached("SELECT 1 FROM modules WHERE id = ?1")?.exists([module])? {
        return Err(StoreError::NotFound("module").into());
    }
    if let Some(command) = first_of_key(db, submission)? {
        return Ok(SubmitOutcome { command, is_new: false, superseded: Vec::new() });
    }
    let superseded = supersede(db, submission, now)?;
    let sql = "SELECT count(*) FROM commands WHERE module_id = ?1 AND finished_at_us IS NULL";
    let waiting: u64 = db.prepare_cached(sql)?.query_row([module], |row| row.get(0))?;
    if waiting >= max_waiting {
        return Err(StoreError::LimitReached { what: "commands waiting", limit: max_waiting }.into());
    }
    let sql = format!(
        "INSERT INTO commands (id, module_id, action, params, hazardous, target, while_alive_us, state, issued_by,
                               issuer, idempotency_key, created_at_us, time_to_live_us, expires_at_us,
                               expires_steady_us, attempts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'queued', ?8, ?9, ?10, ?11, ?12, ?13, ?14, 0)
         ON CONFLICT (id) DO NOTHING RETURNING {COLUMNS}"
    );
    let row = params![
        submission.id.as_str(),
        module,
        submission.command.action.as_str(),
        modules::json(&submission.command.params)?,
        submission.hazardous,
        submission.target,
        submission.while_alive.map(micros),
        submission.issued_by.as_str(),
        submission.issuer,
        submission.idempotency_key,
        now.wall.as_micros(),
        micros(submission.time_to_live),
        now.wall.plus(submission.time_to_live).as_micros(),
        now.steady.0.plus(submission.time_to_live).as_micros(),
    ];
    match db.prepare_cached(&sql)?.query_row(row, read).optional()? {
        Some(command) => Ok(SubmitOutcome { command, is_new: true, superseded }),
        None => Err(StoreError::Conflict("there is already a command with that id".to_owned()).into()),
    }
}

pub(super) const BY_KEY: &str = "SELECT id, action, params, time_to_live_us FROM commands
     WHERE module_id = ?1 AND issued_by = ?2 AND idempotency_key = ?3";

/// The command of the first request with the same idempotency key, which must be the same request.
fn first_of_key(db: &Connection, submission: &CommandSubmission) -> EngineResult<Option<Command>> {
    let Some(key) = &submission.idempotency_key else { return Ok(None) };
    let first = db
        .prepare_cached(BY_KEY)?
        .query_row([submission.module_id.as_str(), submission.issued_by.as_str(), key], |row| {
            let asked: (String, Map<String, Value>, i64) = (row.get(1)?, json(row, 2)?, row.get(3)?);
            Ok((parsed::<CommandId>(row, 0)?, asked))
        })
        .optional()?;
    let Some((id, (action, params, time_to_live))) = first else { return Ok(None) };
    let asked =
        (submission.command.action.as_str(), &submission.command.params, micros(submission.time_to_live));
    if (action.as_str(), &params, time_to_live) == asked {
        command(db, &id)
    } else {
        Err(StoreError::Conflict(format!("the idempotency key `{key}` belongs to a different request"))
            .into())
    }
}

/// Cancels queued commands for the same target. A leased one may have run already, so it is not cancelled.
fn supersede(db: &Connection, submission: &CommandSubmission, now: Now) -> EngineResult<Vec<Command>> {
    let Some(target) = &submission.target else { return Ok(Vec::new()) };
    let sql = format!(
        "UPDATE commands SET state = 'cancelled', finished_at_us = ?5, error = ?6, superseded_by = ?4
         WHERE module_id = ?1 AND finished_at_us IS NULL AND state = 'queued' AND action = ?2 AND target = ?3
         RETURNING number, {COLUMNS}"
    );
    let row = params![
        submission.module_id.as_str(),
        submission.command.action.as_str(),
        target,
        submission.id.as_str(),
        now.wall.as_micros(),
        SUPERSEDED,
    ];
    in_order(db.prepare_cached(&sql)?.query_map(row, numbered)?)
}

/// A row that begins with its number.
fn numbered(row: &Row<'_>) -> rusqlite::Result<(i64, Command)> {
    Ok((row.get(0)?, read_from(row, 1)?))
}

/// RETURNING guarantees no order.
fn in_order(rows: impl Iterator<Item = rusqlite::Result<(i64, Command)>>) -> EngineResult<Vec<Command>> {
    let mut changed = rows.collect::<Result<Vec<_>, _>>()?;
    changed.sort_unstable_by_key(|(number, _)| *number);
    Ok(changed.into_iter().map(|(_, command)| command).collect())
}

pub(super) const LEASED: &str =
    "SELECT 1 FROM commands WHERE module_id = ?1 AND finished_at_us IS NULL AND state = 'leased'";
pub(super) const OLDEST: &str = "SELECT id, expires_steady_us, hazardous FROM commands
     WHERE module_id = ?1 AND finished_at_us IS NULL AND state = 'queued' AND expires_steady_us > ?2
     ORDER BY number LIMIT ?3";

/// See [`WriteCommands::claim`](crate::store::WriteCommands::claim).
pub(super) fn claim(
    db: &Connection,
    module: &ModuleId,
    limit: u32,
    terms: LeaseTerms,
    now: Now,
) -> EngineResult<Vec<LeasedCommand>> {
    if db.prepare_cached(LEASED)?.exists([module.as_str()])? {
        return Ok(Vec::new());
    }
    let mut oldest = db.prepare_cached(OLDEST)?;
    let steady = now.steady.0;
    let claimable = oldest
        .query_map(params![module.as_str(), steady.as_micros(), limit], |row| {
            Ok((parsed::<CommandId>(row, 0)?, moment(row, 1)?, row.get(2)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let sql = format!(
        "UPDATE commands SET state = 'leased', lease = ?2, lease_steady_us = ?3, leased_at_us = ?4,
                             attempts = attempts + 1
         WHERE id = ?1 AND state = 'queued' RETURNING {COLUMNS}"
    );
    let mut take = db.prepare_cached(&sql)?;
    let mut claimed = Vec::with_capacity(claimable.len());
    for (id, expires, hazardous) in claimable {
        let lease = fresh_lease()?;
        let row =
            params![id.as_str(), lease.as_str(), steady.plus(terms.lease).as_micros(), now.wall.as_micros()];
        let command = take.query_row(row, read)?;
        let mut leased = LeasedCommand::new(command, lease, terms.lease, expires.since(steady));
        leased.hazardous = hazardous;
        claimed.push(leased);
    }
    Ok(claimed)
}

/// 128 random bits, so that only the client that leased the command can name the lease.
fn fresh_lease() -> EngineResult<LeaseId> {
    let mut bytes = [0; 16];
    let failed = |error| StoreError::Engine { context: "generate a lease id", source: BoxError::from(error) };
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(hex(&bytes).into())
}

/// See [`WriteCommands::report`](crate::store::WriteCommands::report).
fn report(
    db: &Connection,
    module: &ModuleId,
    report: &CommandReport,
    terms: LeaseTerms,
    now: Now,
) -> EngineResult<Reported> {
    #[cfg(feature = "sabotage")]
    let report = &drop_the_fence(db, report)?;
    let changed = match report.outcome {
        CommandOutcome::Started => start(db, module, report, terms, now)?,
        _ => finish(db, module, report, now)?,
    };
    if let Some(command) = changed {
        return Ok(Reported { command, is_new: true });
    }
    let unchanged = with_lease(db, &report.id)?.filter(|(command, _)| command.module_id == *module);
    let (command, lease) = unchanged.ok_or(StoreError::NotFound("command"))?;
    if lease.as_ref() != Some(&report.lease) {
        return Err(conflict("the lease of the command has ended", &command));
    }
    let is_repeated = match &report.outcome {
        CommandOutcome::Started => command.state == CommandState::Leased && command.started_at.is_some(),
        outcome => {
            (command.state, command.result.as_ref(), command.error.as_deref())
                == (outcome.state(), result(outcome), outcome.error())
        }
    };
    match report.outcome {
        _ if is_repeated => Ok(Reported { command, is_new: false }),
        CommandOutcome::Started => {
            Err(conflict("the lease of the command, or its lifetime, has ended", &command))
        }
        _ => Err(conflict("the command has ended", &command)),
    }
}

/// Records that a command was started. Checks the lease and the lifetime, too: expiry may not have run yet.
fn start(
    db: &Connection,
    module: &ModuleId,
    report: &CommandReport,
    terms: LeaseTerms,
    now: Now,
) -> EngineResult<Option<Command>> {
    let sql = format!(
        "UPDATE commands SET started_at_us = ?4, lease_steady_us = ?5
         WHERE id = ?1 AND module_id = ?2 AND lease = ?3 AND state = 'leased' AND started_at_us IS NULL
           AND lease_steady_us > ?6 AND expires_steady_us > ?6
         RETURNING {COLUMNS}"
    );
    let steady = now.steady.0;
    let ends = steady.plus(terms.lease).as_micros();
    let row = params![
        report.id.as_str(),
        module.as_str(),
        report.lease.as_str(),
        now.wall.as_micros(),
        ends,
        steady.as_micros()
    ];
    Ok(db.prepare_cached(&sql)?.query_row(row, read).optional()?)
}

/// Records the outcome of a command.
fn finish(
    db: &Connection,
    module: &ModuleId,
    report: &CommandReport,
    now: Now,
) -> EngineResult<Option<Command>> {
    let outcome = &report.outcome;
    let sql = format!(
        "UPDATE commands SET state = ?4, result = ?5, error = ?6, finished_at_us = ?7
         WHERE id = ?1 AND module_id = ?2 AND lease = ?3 AND state = 'leased' RETURNING {COLUMNS}"
    );
    let row = params![
        report.id.as_str(),
        module.as_str(),
        report.lease.as_str(),
        outcome.state().as_str(),
        result(outcome).map(modules::json).transpose()?,
        outcome.error(),
        now.wall.as_micros(),
    ];
    Ok(db.prepare_cached(&sql)?.query_row(row, read).optional()?)
}

fn result(outcome: &CommandOutcome) -> Option<&Value> {
    match outcome {
        CommandOutcome::Succeeded { result } => result.as_ref(),
        _ => None,
    }
}

/// The report with the current lease.
#[cfg(feature = "sabotage")]
fn drop_the_fence(db: &Connection, report: &CommandReport) -> EngineResult<CommandReport> {
    use crate::sabotage::{Sabotage, is};
    let present = with_lease(db, &report.id)?.and_then(|(_, lease)| lease);
    let lease = present.filter(|_| is(Sabotage::DropTheFence)).unwrap_or_else(|| report.lease.clone());
    Ok(CommandReport::new(report.id.clone(), lease, report.outcome.clone()))
}

/// See [`WriteCommands::cancel`](crate::store::WriteCommands::cancel).
pub(super) fn cancel(db: &Connection, id: &CommandId, now: Now) -> EngineResult<Command> {
    let sql = format!(
        "UPDATE commands SET state = 'cancelled', finished_at_us = ?2 WHERE id = ?1 AND state = 'queued'
         RETURNING {COLUMNS}"
    );
    let cancelled =
        db.prepare_cached(&sql)?.query_row(params![id.as_str(), now.wall.as_micros()], read).optional()?;
    match cancelled {
        Some(command) => Ok(command),
        None => match command(db, id)? {
            Some(command) => Err(conflict("the command is no longer queued", &command)),
            None => Err(StoreError::NotFound("command").into()),
        },
    }
}

fn conflict(what: &str, command: &Command) -> EngineError {
    StoreError::Conflict(format!("{what}; it is {}", command.state.as_str())).into()
}

pub(super) const NEXT_DUE: &str =
    "SELECT min(CASE state WHEN 'leased' THEN lease_steady_us ELSE expires_steady_us END)
     FROM commands WHERE finished_at_us IS NULL";

/// See [`WriteCommands::apply_deadlines`](crate::store::WriteCommands::apply_deadlines).
///
/// The end of a lease has priority over the end of the lifetime: it is unknown whether the command ran, and `expired` would mean
/// that it did not.
fn apply_deadlines(db: &Connection, terms: LeaseTerms, now: Now) -> EngineResult<DeadlineChanges> {
    const ENDS_AS: &str = "CASE WHEN state = 'leased' AND started_at_us IS NOT NULL THEN 'unknown_outcome'
                                WHEN state = 'leased' AND attempts >= ?3 THEN 'dead'
                                WHEN expires_steady_us <= ?1 THEN 'expired' END";
    let sql = format!(
        "UPDATE commands SET
            state = ifnull({ENDS_AS}, 'queued'),
            finished_at_us = CASE WHEN ({ENDS_AS}) IS NOT NULL THEN ?2 END,
            error = CASE {ENDS_AS} WHEN 'unknown_outcome' THEN ?4 END,
            lease = NULL, lease_steady_us = NULL
         WHERE finished_at_us IS NULL
           AND CASE state WHEN 'leased' THEN lease_steady_us ELSE expires_steady_us END <= ?1
         RETURNING number, {COLUMNS}"
    );
    let row = params![now.steady.0.as_micros(), now.wall.as_micros(), terms.max_attempts, UNKNOWN];
    let changed = in_order(db.prepare_cached(&sql)?.query_map(row, numbered)?)?;
    let next: Option<i64> = db.prepare_cached(NEXT_DUE)?.query_row([], |row| row.get(0))?;
    Ok(DeadlineChanges { changed, next: next.map(|at| Steady(Timestamp::from_micros(at))) })
}

/// See [`WriteCommands::clamp_deadlines`](crate::store::WriteCommands::clamp_deadlines). What people are shown follows what counts.
pub(super) fn clamp(db: &Connection, terms: LeaseTerms, now: Now) -> EngineResult<()> {
    let (wall, steady) = (now.wall.as_micros(), now.steady.0);
    db.prepare_cached(
        "UPDATE commands SET expires_steady_us = ?1 + time_to_live_us,
                             expires_at_us = min(expires_at_us, ?2 + time_to_live_us)
         WHERE finished_at_us IS NULL AND expires_steady_us > ?1 + time_to_live_us",
    )?
    .execute([steady.as_micros(), wall])?;
    db.prepare_cached(
        "UPDATE commands SET lease_steady_us = ?1
         WHERE finished_at_us IS NULL AND state = 'leased' AND lease_steady_us > ?1",
    )?
    .execute([steady.plus(terms.lease).as_micros()])?;
    Ok(())
}

pub(super) const TOO_OLD: &str = "SELECT number FROM commands
     WHERE finished_at_us < min(?1, (SELECT max(finished_at_us) FROM commands WHERE finished_at_us IS NOT NULL)) - ?2
     ORDER BY finished_at_us LIMIT ?3";
pub(super) const TOO_MANY: &str =
    "SELECT module_id, count(*) - ?1 FROM commands WHERE finished_at_us IS NOT NULL
     GROUP BY module_id HAVING count(*) > ?1";
pub(super) const OLDEST_ENDED: &str = "SELECT number FROM commands
     WHERE module_id = ?1 AND finished_at_us IS NOT NULL ORDER BY number LIMIT ?2";

/// The numbers of commands that may be deleted, at most one step of them.
pub(super) fn prunable(db: &Connection, history: CommandHistory, now: Now) -> EngineResult<Vec<i64>> {
    let number = |row: &Row<'_>| row.get::<_, i64>(0);
    let step = usize::try_from(history.step).unwrap_or(usize::MAX);
    let mut ended = Vec::new();
    if let Some(keep) = history.keep {
        let mut too_old = db.prepare_cached(TOO_OLD)?;
        let row = params![now.wall.as_micros(), micros(keep), history.step];
        ended = too_old.query_map(row, number)?.collect::<Result<_, _>>()?;
    }
    let mut too_many = db.prepare_cached(TOO_MANY)?;
    let modules = too_many
        .query_map([history.per_module], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut oldest = db.prepare_cached(OLDEST_ENDED)?;
    for (module, over) in modules {
        if ended.len() >= step {
            break;
        }
        let over = over.min(u64::from(history.step));
        for number in oldest.query_map(params![module, over], number)? {
            ended.push(number?);
        }
    }
    ended.sort_unstable();
    ended.dedup();
    ended.truncate(step);
    Ok(ended)
}

/// Deletes them, if they still exist.
pub(super) fn delete(db: &Connection, numbers: &[i64]) -> EngineResult<u64> {
    let mut forget =
        db.prepare_cached("DELETE FROM commands WHERE number = ?1 AND finished_at_us IS NOT NULL")?;
    let mut gone = 0;
    for number in numbers {
        gone += forget.execute([number])? as u64;
    }
    Ok(gone)
}

/// See [`ReadCommands::watched_issuer`](crate::store::ReadCommands::watched_issuer).
pub(super) fn watched_issuer(
    db: &Connection,
    module: &ModuleId,
    id: &CommandId,
) -> EngineResult<Option<WatchedIssuer>> {
    let sql = "SELECT issuer, while_alive_us FROM commands
               WHERE id = ?1 AND module_id = ?2 AND issuer IS NOT NULL AND while_alive_us IS NOT NULL";
    let found = |row: &Row<'_>| {
        let while_alive = Duration::from_micros(row.get(1)?);
        Ok(WatchedIssuer { issuer: row.get(0)?, while_alive })
    };
    Ok(db.prepare_cached(sql)?.query_row([id.as_str(), module.as_str()], found).optional()?)
}

/// See [`ReadCommands::command`](crate::store::ReadCommands::command).
pub(super) fn command(db: &Connection, id: &CommandId) -> EngineResult<Option<Command>> {
    let sql = format!("SELECT {COLUMNS} FROM commands WHERE id = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([id.as_str()], read).optional()?)
}

fn with_lease(db: &Connection, id: &CommandId) -> EngineResult<Option<(Command, Option<LeaseId>)>> {
    let sql = format!("SELECT lease, {COLUMNS} FROM commands WHERE id = ?1");
    let found = |row: &Row<'_>| Ok((read_from(row, 1)?, maybe_parsed(row, 0)?));
    Ok(db.prepare_cached(&sql)?.query_row([id.as_str()], found).optional()?)
}

/// See [`ReadCommands::commands`](crate::store::ReadCommands::commands).
pub(super) fn commands(
    db: &Connection,
    module: &ModuleId,
    page: &PageRequest,
) -> EngineResult<Page<Command>> {
    let list = List::new("commands", module);
    let before = list.key::<i64>(page)?.unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT number, {COLUMNS} FROM commands WHERE module_id = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params![module.as_str(), before, cursor::limit(page) + 1], numbered)?;
    let page = list.page(rows.collect::<Result<Vec<_>, _>>()?, page, |(number, _)| *number);
    Ok(page.map(|(_, command)| command))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Command> {
    read_from(row, 0)
}

/// Reads [`COLUMNS`], beginning at column `at`.
fn read_from(row: &Row<'_>, at: usize) -> rusqlite::Result<Command> {
    let mut new = NewCommand::new(parsed(row, at + 2)?);
    new.params = json(row, at + 3)?;
    let issued_by = parsed(row, at + 5)?;
    let mut command =
        Command::new(parsed(row, at)?, parsed(row, at + 1)?, new, issued_by, moment(row, at + 6)?);
    command.state = word(row, at + 4, CommandState::ALL, CommandState::as_str)?;
    command.expires_at = moment(row, at + 7)?;
    command.leased_at = maybe_moment(row, at + 8)?;
    command.started_at = maybe_moment(row, at + 9)?;
    command.finished_at = maybe_moment(row, at + 10)?;
    command.attempts = row.get(at + 11)?;
    command.result = maybe_json(row, at + 12)?;
    command.error = row.get(at + 13)?;
    command.superseded_by = maybe_parsed(row, at + 14)?;
    Ok(command)
}

#[async_trait]
impl ReadCommands for Sqlite {
    async fn command(&self, id: &CommandId) -> Result<Option<Command>> {
        let id = id.clone();
        self.look_up("read a command", move |db| command(db, &id)).await
    }

    async fn commands(&self, module_id: &ModuleId, page: &PageRequest) -> Result<Page<Command>> {
        let (module_id, page) = (module_id.clone(), page.clone());
        self.read("list commands", move |db| commands(db, &module_id, &page)).await
    }

    async fn watched_issuer(&self, module_id: &ModuleId, id: &CommandId) -> Result<Option<WatchedIssuer>> {
        let (module_id, id) = (module_id.clone(), id.clone());
        self.look_up("read a command's issuer", move |db| watched_issuer(db, &module_id, &id)).await
    }
}

#[async_trait]
impl WriteCommands for Sqlite {
    async fn submit(
        &self,
        submission: &CommandSubmission,
        max_waiting: u64,
        now: Now,
    ) -> Result<SubmitOutcome> {
        let submission = submission.clone();
        self.write("submit a command", move |db| submit(db, &submission, max_waiting, now)).await
    }

    async fn claim(
        &self,
        module_id: &ModuleId,
        limit: u32,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Vec<LeasedCommand>> {
        let module_id = module_id.clone();
        self.write("claim commands", move |db| claim(db, &module_id, limit, terms, now)).await
    }

    async fn report(
        &self,
        module_id: &ModuleId,
        state: Option<&Map<String, Value>>,
        command: Option<&CommandReport>,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Option<Result<Reported>>> {
        let (module_id, state, command) = (module_id.clone(), state.cloned(), command.cloned());
        self.write("store a report", move |db| {
            if let Some(state) = &state {
                modules::set_state(db, &module_id, state, now)?;
            }
            match command.map(|report| self::report(db, &module_id, &report, terms, now)).transpose() {
                Ok(reported) => Ok(reported.map(Ok)),
                Err(EngineError::Rejected(refused)) => Ok(Some(Err(refused))),
                Err(failed) => Err(failed),
            }
        })
        .await
    }

    async fn cancel(&self, id: &CommandId, now: Now) -> Result<Command> {
        let id = id.clone();
        self.write("cancel a command", move |db| cancel(db, &id, now)).await
    }

    async fn apply_deadlines(&self, terms: LeaseTerms, now: Now) -> Result<DeadlineChanges> {
        self.write("apply deadlines", move |db| apply_deadlines(db, terms, now)).await
    }

    async fn clamp_deadlines(&self, terms: LeaseTerms, now: Now) -> Result<()> {
        self.write("clamp deadlines", move |db| clamp(db, terms, now)).await
    }

    async fn prune_commands(&self, history: CommandHistory, now: Now) -> Result<u64> {
        // On a reader, so that the search delays no write. Ended commands do not change meanwhile.
        let ended = self.read("find old commands", move |db| prunable(db, history, now)).await?;
        if ended.is_empty() {
            return Ok(0);
        }
        self.write("delete commands", move |db| delete(db, &ended)).await
    }
}
