//! The series of removed modules, whose records are deleted in small steps.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::sqlite::failure::EngineResult;

/// The module id of removed modules' series until their records are deleted. No id of a module has a dot.
pub(crate) const REMOVED: &str = ".removed";
/// The maximum number of rows of each kind that one transaction deletes: some milliseconds.
const MAX_ROWS: usize = 200;
/// The maximum number of chunks or blocks: each has some 30 pages.
const MAX_CHUNKS: usize = 8;

/// Deletes some records of removed modules. Returns whether there are more.
///
/// # Errors
/// SQLite's.
pub(crate) fn delete_records(db: &Connection) -> EngineResult<bool> {
    let Some(series) = first_series(db)? else { return Ok(false) };
    for (sql, most) in [
        ("DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE series_id = ?1 LIMIT ?2)", MAX_CHUNKS),
        (
            "DELETE FROM rollups WHERE (series_id, width, start) IN
             (SELECT series_id, width, start FROM rollups WHERE series_id = ?1 LIMIT ?2)",
            MAX_ROWS,
        ),
        (
            "DELETE FROM rollup_blocks WHERE id IN (SELECT id FROM rollup_blocks WHERE series_id = ?1 LIMIT ?2)",
            MAX_CHUNKS,
        ),
    ] {
        if db.prepare_cached(sql)?.execute(params![series, most])? > 0 {
            return Ok(true);
        }
    }
    db.prepare_cached("DELETE FROM series WHERE id = ?1")?.execute([series])?;
    let more = first_series(db)?.is_some();
    if !more {
        db.prepare_cached("DELETE FROM modules WHERE id = ?1")?.execute([REMOVED])?;
    }
    Ok(more)
}

/// A series of a removed module.
pub(crate) fn first_series(db: &Connection) -> EngineResult<Option<i64>> {
    let sql = "SELECT id FROM series WHERE module_id = ?1 LIMIT 1";
    Ok(db.prepare_cached(sql)?.query_row([REMOVED], |row| row.get(0)).optional()?)
}
