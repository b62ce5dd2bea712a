//! The write-ahead log: a table with one row for each commit that added readings. Compaction deletes the rows.
//!
//! Rows are numbered consecutively, so that a missing row is noticed, and a number is never used again, so that "compacted up to this
//! id" stays true for a series.

use rusqlite::{Connection, params};

use super::wal_record::{self, WalEntry};
use crate::store::sqlite::failure::{EngineResult, Failure};

/// The maximum number of rows that one transaction deletes: about two milliseconds.
const MAX_DELETED_ROWS: usize = 2048;

/// The end of the log.
#[derive(Debug)]
pub(crate) struct Wal {
    next_id: u64,
}

impl Wal {
    /// Reads the records from the id `from` on, in order, and passes each to `apply` with its id.
    ///
    /// # Errors
    /// SQLite's; damage if a record is missing or cannot be decoded.
    pub(crate) fn load(
        db: &Connection,
        from: u64,
        mut apply: impl FnMut(u64, Vec<WalEntry>),
    ) -> EngineResult<Self> {
        let mut next_id = from;
        let mut records = db.prepare("SELECT id, record FROM wal WHERE id >= ?1 ORDER BY id")?;
        let mut rows = records.query([from])?;
        while let Some(row) = rows.next()? {
            let id: u64 = row.get(0)?;
            if id != next_id {
                return Err(Failure::damaged("a record of the WAL is missing").into());
            }
            let entries = wal_record::decode(row.get_ref(1)?.as_blob()?)
                .ok_or_else(|| Failure::damaged("a record of the WAL cannot be read"))?;
            apply(id, entries);
            next_id = id + 1;
        }
        Ok(Self { next_id })
    }

    /// The id of the next record.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Appends one record with these entries.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn append(&mut self, db: &Connection, entries: &[WalEntry]) -> EngineResult<()> {
        let record = wal_record::encode(entries);
        db.prepare_cached("INSERT INTO wal (id, record) VALUES (?1, ?2)")?
            .execute(params![self.next_id, record])?;
        self.next_id += 1;
        Ok(())
    }

    /// Undoes appends whose transaction was rolled back.
    pub(crate) fn reset(&mut self, next_id: u64) {
        self.next_id = next_id;
    }
}

/// Deletes some records before the id `before`. Returns whether there may be more.
///
/// # Errors
/// SQLite's.
pub(crate) fn delete_some(db: &Connection, before: u64) -> EngineResult<bool> {
    let sql = "DELETE FROM wal WHERE id IN (SELECT id FROM wal WHERE id < ?1 ORDER BY id LIMIT ?2)";
    Ok(db.prepare_cached(sql)?.execute(params![before, MAX_DELETED_ROWS])? == MAX_DELETED_ROWS)
}

/// Whether there are records before this id.
///
/// # Errors
/// SQLite's.
pub(crate) fn has_before(db: &Connection, id: u64) -> EngineResult<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM wal WHERE id < ?1")?.exists([id])?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::wal_record::tests::any_entry, *};

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE wal (id INTEGER PRIMARY KEY, record BLOB)").unwrap();
        db
    }

    /// The entries of each record, with its id.
    type Records = Vec<(u64, Vec<WalEntry>)>;

    fn load(db: &Connection, from: u64) -> EngineResult<(Wal, Records)> {
        let mut records = Vec::new();
        let wal = Wal::load(db, from, |id, entries| records.push((id, entries)))?;
        Ok((wal, records))
    }

    proptest! {
        #[test]
        fn appended_records_are_loaded_from_any_id(
            commits in prop::collection::vec((prop::collection::vec(any_entry(), 1..9), any::<bool>()), 1..12),
            from: prop::sample::Index,
        ) {
            let db = database();
            let (mut wal, _) = load(&db, 0).unwrap();
            let mut appended = Vec::new();

            for (entries, is_rolled_back) in commits {
                let before = wal.next_id();
                db.execute_batch("BEGIN").unwrap();
                wal.append(&db, &entries).unwrap();
                if is_rolled_back {
                    db.execute_batch("ROLLBACK").unwrap();
                    wal.reset(before);
                } else {
                    db.execute_batch("COMMIT").unwrap();
                    appended.push((before, entries));
                }
            }

            let from = from.index(appended.len() + 1);
            let (loaded, records) = load(&db, from as u64).unwrap();
            prop_assert_eq!(&records, &appended[from..]);
            prop_assert_eq!(loaded.next_id(), wal.next_id());
        }
    }

    #[test]
    fn ids_continue_after_all_records_are_deleted() {
        let db = database();
        let mut wal = load(&db, 0).unwrap().0;
        for _ in 0..3 {
            wal.append(&db, &[]).unwrap();
        }

        assert!(!delete_some(&db, wal.next_id()).unwrap());

        let (loaded, records) = load(&db, wal.next_id()).unwrap();
        assert_eq!((loaded.next_id(), records), (3, Vec::new()));
    }

    #[test]
    fn a_missing_record_is_damage() {
        let db = database();
        let mut wal = load(&db, 0).unwrap().0;
        for _ in 0..3 {
            wal.append(&db, &[]).unwrap();
        }

        db.execute("DELETE FROM wal WHERE id = 1", []).unwrap();

        assert!(load(&db, 0).is_err());
        assert!(load(&db, 2).is_ok());
    }
}
