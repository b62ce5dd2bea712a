//! Removal of modules: first the module disappears, then its readings are deleted, in bounded steps between
//! other writes.
//!
//! The transaction in which a module disappears moves its series to [`REMOVED`], where no query looks, and a
//! module of the same name starts empty at once. The writer deletes the readings whenever it has no other
//! write, and one step after each group of writes otherwise. The progress is in the database, so the next
//! start continues.

use iotpi_core::ModuleId;
use rusqlite::{Connection, params};

use super::{failure::EngineResult, frame_index, notes, series::removed::REMOVED};
use crate::store::StoreError;

/// A note with this prefix and the module's id records that its removal has begun.
const BEGUN: &str = "removing/";
/// The maximum number of rows of each kind that one transaction deletes: some milliseconds.
const MAX_ROWS: usize = 200;
/// The maximum number of segments; each includes the rows of its frames.
const MAX_SEGMENTS: usize = 8;

/// Takes one step of the removal of a module. Returns whether the module is gone; otherwise another step is
/// needed.
///
/// # Errors
/// [`StoreError::NotFound`]; SQLite's.
pub(super) fn step(db: &Connection, id: &ModuleId) -> EngineResult<bool> {
    let module = id.as_str();
    if !db.prepare_cached("SELECT 1 FROM modules WHERE id = ?1")?.exists([module])? {
        return Err(StoreError::NotFound("module").into());
    }
    if delete_some(db, id)? {
        notes::set(db, &format!("{BEGUN}{module}"), "null")?;
        return Ok(false);
    }
    db.prepare_cached("DELETE FROM tokens WHERE module_id = ?1")?.execute([module])?;
    let sql = "INSERT INTO modules (id, registered_at_us) VALUES (?1, 0) ON CONFLICT DO NOTHING";
    db.prepare_cached(sql)?.execute([REMOVED])?;
    // The series gets a type that no other series has.
    let sql =
        "UPDATE series SET module_id = ?2, sensor = CAST(id AS TEXT), channel = '' WHERE module_id = ?1";
    db.prepare_cached(sql)?.execute([module, REMOVED])?;
    // The few other rows are deleted by their foreign keys.
    db.prepare_cached("DELETE FROM modules WHERE id = ?1")?.execute([module])?;
    notes::delete(db, &format!("{BEGUN}{module}"))?;
    Ok(true)
}

/// Deletes some of a module's rows from the tables that may have many. Returns whether there may be more.
fn delete_some(db: &Connection, id: &ModuleId) -> EngineResult<bool> {
    let sql = "SELECT name FROM segments WHERE module_id = ?1 LIMIT ?2";
    let mut segments = db.prepare_cached(sql)?;
    let names = segments.query_map(params![id.as_str(), MAX_SEGMENTS], |row| row.get(0))?;
    let names = names.collect::<Result<Vec<String>, _>>()?;
    frame_index::add_tombstones(db, id, &names)?;
    let mut more = names.len() == MAX_SEGMENTS;
    for sql in [
        "DELETE FROM commands WHERE number IN (SELECT number FROM commands WHERE module_id = ?1 LIMIT ?2)",
        "DELETE FROM gaps WHERE id IN (SELECT id FROM gaps WHERE module_id = ?1 LIMIT ?2)",
    ] {
        more |= db.prepare_cached(sql)?.execute(params![id.as_str(), MAX_ROWS])? == MAX_ROWS;
    }
    Ok(more)
}

/// The modules whose removal has begun and that have not disappeared yet.
pub(super) fn begun(db: &Connection) -> EngineResult<Vec<ModuleId>> {
    let mut ids = db.prepare("SELECT name FROM notes WHERE name >= ?1 AND name < ?2")?;
    // `0` is the character after `/`.
    let names = ids.query_map([BEGUN, "removing0"], |row| row.get::<_, String>(0))?;
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let id = |name: String| name.strip_prefix(BEGUN).and_then(|id| ModuleId::new(id).ok());
    Ok(names.into_iter().filter_map(id).collect())
}
