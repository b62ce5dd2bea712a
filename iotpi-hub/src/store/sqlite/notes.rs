//! Notes of the hub.

use rusqlite::{Connection, OptionalExtension as _};

use super::failure::EngineResult;

/// See [`MaintainStore::note`](crate::store::MaintainStore::note).
pub(super) fn note(db: &Connection, name: &str) -> EngineResult<Option<String>> {
    let sql = "SELECT text FROM notes WHERE name = ?1";
    Ok(db.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
}

/// See [`MaintainStore::set_note`](crate::store::MaintainStore::set_note).
pub(super) fn set(db: &Connection, name: &str, text: &str) -> EngineResult<()> {
    let sql = "INSERT INTO notes (name, text) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET text = excluded.text";
    db.prepare_cached(sql)?.execute([name, text])?;
    Ok(())
}

/// Deletes the note with that name.
pub(super) fn delete(db: &Connection, name: &str) -> EngineResult<()> {
    db.prepare_cached("DELETE FROM notes WHERE name = ?1")?.execute([name])?;
    Ok(())
}
