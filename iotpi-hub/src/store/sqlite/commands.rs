//! Commands: `queued -> leased -> succeeded | failed | rejected`, or `expired | cancelled | dead`.
//!
//! Every step is one `UPDATE ... WHERE state = ...`: a command that moved on meanwhile is not moved again. A claim that
//! holds protects its command: whatever runs out meanwhile, what the module says in time counts.

use iotpi_core::{
    Command, CommandId, CommandOutcome, CommandReport, CommandState, LeasedCommand, ModuleId, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    columns::{json, maybe_json, maybe_moment, micros, moment, parsed, word},
    failure::{Fail, Work},
    modules,
};
use crate::store::{
    BoxError, CommandOrder, LeaseTerms, Now, Page, PageRequest, Steady, StoreError, Sweep,
    cursor::{self, List, hex},
};

const COLUMNS: &str = "id, module_id, action, params, state, issued_by, created_at_us, expires_at_us, leased_at_us, \
                       finished_at_us, attempts, result, error";

/// See [`Store::submit`](crate::store::Store::submit).
pub(super) fn submit(db: &Connection, order: &CommandOrder, max_waiting: u64, now: Now) -> Work<Command> {
    let module = order.module_id.as_str();
    if !db.prepare_cached("SELECT 1 FROM modules WHERE id = ?1")?.exists([module])? {
        return Err(StoreError::NotFound("module").into());
    }
    let sql = "SELECT count(*) FROM commands WHERE module_id = ?1 AND finished_at_us IS NULL";
    let waiting: u64 = db.prepare_cached(sql)?.query_row([module], |row| row.get(0))?;
    if waiting >= max_waiting {
        return Err(StoreError::LimitReached { what: "commands waiting", limit: max_waiting }.into());
    }
    let sql = format!(
        "INSERT INTO commands (id, module_id, action, params, hazardous, state, issued_by, created_at_us,
                               time_to_live_us, expires_at_us, expires_steady_us, attempts)
         VALUES (?1, ?2, ?3, ?4, ?5, 'queued', ?6, ?7, ?8, ?9, ?10, 0)
         ON CONFLICT (id) DO NOTHING RETURNING {COLUMNS}"
    );
    let row = params![
        order.id,
        module,
        order.command.action.as_str(),
        modules::json(&order.command.params)?,
        order.hazardous,
        order.issued_by.as_str(),
        now.wall.as_micros(),
        micros(order.time_to_live),
        now.wall.plus(order.time_to_live).as_micros(),
        now.steady.0.plus(order.time_to_live).as_micros(),
    ];
    db.prepare_cached(&sql)?
        .query_row(row, read)
        .optional()?
        .ok_or_else(|| StoreError::Conflict("there is a command of that id already".to_owned()).into())
}

pub(super) const LEASED: &str =
    "SELECT 1 FROM commands WHERE module_id = ?1 AND finished_at_us IS NULL AND state = 'leased'";
pub(super) const OLDEST: &str = "SELECT id, expires_steady_us FROM commands
     WHERE module_id = ?1 AND finished_at_us IS NULL AND state = 'queued' AND expires_steady_us > ?2
     ORDER BY number LIMIT ?3";

/// See [`Store::claim`](crate::store::Store::claim).
pub(super) fn claim(
    db: &Connection,
    module: &ModuleId,
    limit: u32,
    terms: LeaseTerms,
    now: Now,
) -> Work<Vec<LeasedCommand>> {
    if db.prepare_cached(LEASED)?.exists([module.as_str()])? {
        return Ok(Vec::new());
    }
    let mut oldest = db.prepare_cached(OLDEST)?;
    let steady = now.steady.0;
    let claimable = oldest
        .query_map(params![module.as_str(), steady.as_micros(), limit], |row| {
            Ok((row.get::<_, CommandId>(0)?, moment(row, 1)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let sql = format!(
        "UPDATE commands SET state = 'leased', lease = ?2, lease_steady_us = ?3, leased_at_us = ?4,
                             attempts = attempts + 1
         WHERE id = ?1 AND state = 'queued' RETURNING {COLUMNS}"
    );
    let mut take = db.prepare_cached(&sql)?;
    let mut claimed = Vec::with_capacity(claimable.len());
    for (id, expires) in claimable {
        let lease = fresh_lease()?;
        let row = params![id, lease, steady.plus(terms.lease).as_micros(), now.wall.as_micros()];
        claimed.push(LeasedCommand {
            command: take.query_row(row, read)?,
            lease,
            lease_secs: terms.lease.as_secs_f64(),
            expires_in: expires.since(steady).as_secs_f64(),
        });
    }
    Ok(claimed)
}

/// 128 random bits: nobody but the one that claimed can name it.
fn fresh_lease() -> Work<String> {
    let mut bytes = [0; 16];
    let no_luck = |error| StoreError::Engine { context: "make a lease id", source: BoxError::from(error) };
    getrandom::fill(&mut bytes).map_err(no_luck)?;
    Ok(hex(&bytes))
}

/// See [`Store::finish`](crate::store::Store::finish).
pub(super) fn finish(db: &Connection, module: &ModuleId, report: &CommandReport, now: Now) -> Work<Command> {
    #[cfg(feature = "sabotage")]
    let report = &drop_the_fence(db, report)?;
    let (result, error) = match &report.outcome {
        CommandOutcome::Succeeded { result } => (result.as_ref(), None),
        CommandOutcome::Failed { error } | CommandOutcome::Rejected { error } => (None, Some(error)),
    };
    let sql = format!(
        "UPDATE commands SET state = ?4, result = ?5, error = ?6, finished_at_us = ?7
         WHERE id = ?1 AND module_id = ?2 AND lease = ?3 AND state = 'leased' RETURNING {COLUMNS}"
    );
    let row = params![
        report.id,
        module.as_str(),
        report.lease,
        report.outcome.state().as_str(),
        result.map(modules::json).transpose()?,
        error,
        now.wall.as_micros(),
    ];
    if let Some(command) = db.prepare_cached(&sql)?.query_row(row, read).optional()? {
        return Ok(command);
    }
    let Some((command, lease)) = with_lease(db, &report.id)? else {
        return Err(StoreError::NotFound("command").into());
    };
    let said_already = (command.state, command.result.as_ref(), command.error.as_ref())
        == (report.outcome.state(), result, error);
    if command.module_id != *module {
        Err(StoreError::NotFound("command").into())
    } else if lease.as_ref() != Some(&report.lease) {
        Err(conflict("the claim on the command is over", &command))
    } else if said_already {
        Ok(command)
    } else {
        Err(conflict("the command has ended", &command))
    }
}

/// A report with whatever lease is the present one.
#[cfg(feature = "sabotage")]
fn drop_the_fence(db: &Connection, report: &CommandReport) -> Work<CommandReport> {
    use crate::sabotage::{Sabotage, is};
    let present = with_lease(db, &report.id)?.and_then(|(_, lease)| lease);
    let lease = present.filter(|_| is(Sabotage::DropTheFence)).unwrap_or_else(|| report.lease.clone());
    Ok(CommandReport { lease, ..report.clone() })
}

/// See [`Store::cancel`](crate::store::Store::cancel).
pub(super) fn cancel(db: &Connection, id: &CommandId, now: Now) -> Work<Command> {
    let sql = format!(
        "UPDATE commands SET state = 'cancelled', finished_at_us = ?2 WHERE id = ?1 AND state = 'queued'
         RETURNING {COLUMNS}"
    );
    let cancelled = db.prepare_cached(&sql)?.query_row(params![id, now.wall.as_micros()], read).optional()?;
    match cancelled {
        Some(command) => Ok(command),
        None => match command(db, id)? {
            Some(command) => Err(conflict("the command is no longer queued", &command)),
            None => Err(StoreError::NotFound("command").into()),
        },
    }
}

fn conflict(what: &str, command: &Command) -> Fail {
    StoreError::Conflict(format!("{what}; it is {}", command.state.as_str())).into()
}

pub(super) const NEXT_DUE: &str =
    "SELECT min(CASE state WHEN 'leased' THEN lease_steady_us ELSE expires_steady_us END)
     FROM commands WHERE finished_at_us IS NULL";

/// See [`Store::sweep_commands`](crate::store::Store::sweep_commands).
///
/// A claim that is over makes a command dead sooner than its time to live makes it expired: nobody knows whether it was
/// done, and `expired` would say that it was not.
pub(super) fn sweep(db: &Connection, terms: LeaseTerms, now: Now) -> Work<Sweep> {
    let sql = format!(
        "UPDATE commands SET
            state = CASE WHEN state = 'leased' AND (hazardous OR attempts >= ?3) THEN 'dead'
                         WHEN expires_steady_us <= ?1 THEN 'expired'
                         ELSE 'queued' END,
            finished_at_us = CASE WHEN state = 'leased' AND (hazardous OR attempts >= ?3) THEN ?2
                                  WHEN expires_steady_us <= ?1 THEN ?2 END,
            lease = NULL, lease_steady_us = NULL
         WHERE finished_at_us IS NULL
           AND CASE state WHEN 'leased' THEN lease_steady_us ELSE expires_steady_us END <= ?1
         RETURNING number, {COLUMNS}"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement
        .query_map(params![now.steady.0.as_micros(), now.wall.as_micros(), terms.max_attempts], |row| {
            Ok((row.get::<_, i64>(0)?, read_from(row, 1)?))
        })?;
    let mut changed = rows.collect::<Result<Vec<_>, _>>()?;
    // RETURNING promises no order.
    changed.sort_unstable_by_key(|(number, _)| *number);
    let next: Option<i64> = db.prepare_cached(NEXT_DUE)?.query_row([], |row| row.get(0))?;
    Ok(Sweep {
        changed: changed.into_iter().map(|(_, command)| command).collect(),
        next: next.map(|at| Steady(Timestamp::from_micros(at))),
    })
}

/// See [`Store::clamp_deadlines`](crate::store::Store::clamp_deadlines). What people are shown follows what counts.
pub(super) fn clamp(db: &Connection, terms: LeaseTerms, now: Now) -> Work<()> {
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

/// See [`Store::command`](crate::store::Store::command).
pub(super) fn command(db: &Connection, id: &CommandId) -> Work<Option<Command>> {
    let sql = format!("SELECT {COLUMNS} FROM commands WHERE id = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([id], read).optional()?)
}

fn with_lease(db: &Connection, id: &CommandId) -> Work<Option<(Command, Option<String>)>> {
    let sql = format!("SELECT lease, {COLUMNS} FROM commands WHERE id = ?1");
    let found = |row: &Row<'_>| Ok((read_from(row, 1)?, row.get(0)?));
    Ok(db.prepare_cached(&sql)?.query_row([id], found).optional()?)
}

/// See [`Store::commands`](crate::store::Store::commands).
pub(super) fn commands(db: &Connection, module: &ModuleId, page: &PageRequest) -> Work<Page<Command>> {
    let list = List::new("commands", module);
    let before = list.key::<i64>(page)?.unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT number, {COLUMNS} FROM commands WHERE module_id = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params![module.as_str(), before, cursor::limit(page) + 1], |row| {
        Ok((row.get::<_, i64>(0)?, read_from(row, 1)?))
    })?;
    let page = list.page(rows.collect::<Result<Vec<_>, _>>()?, page, |(number, _)| *number);
    Ok(page.map(|(_, command)| command))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Command> {
    read_from(row, 0)
}

/// Reads [`COLUMNS`] that begin at column `at`.
fn read_from(row: &Row<'_>, at: usize) -> rusqlite::Result<Command> {
    Ok(Command {
        id: row.get(at)?,
        module_id: parsed(row, at + 1)?,
        action: parsed(row, at + 2)?,
        params: json(row, at + 3)?,
        state: word(row, at + 4, &CommandState::ALL, CommandState::as_str)?,
        issued_by: parsed(row, at + 5)?,
        created_at: moment(row, at + 6)?,
        expires_at: moment(row, at + 7)?,
        leased_at: maybe_moment(row, at + 8)?,
        finished_at: maybe_moment(row, at + 9)?,
        attempts: row.get(at + 10)?,
        result: maybe_json(row, at + 11)?,
        error: row.get(at + 12)?,
    })
}
