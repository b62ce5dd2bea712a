//! Salvage of the WAL: the records with a correct checksum.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, types::Value};

use super::table_scan::{Table, unless_interrupted};
use crate::store::sqlite::{
    failure::EngineResult,
    series::{point::Point, range_set::RangeSet, wal_record},
};

/// The readings of a damaged WAL.
#[derive(Debug, Default)]
pub(crate) struct SalvagedWal {
    /// By the id of the series, in the order of the WAL.
    pub(crate) points: BTreeMap<i64, Vec<Point>>,
    /// The sequence numbers that arrived, by the id of the epoch.
    pub(crate) arrived: BTreeMap<i64, RangeSet>,
    pub(crate) is_damaged: bool,
}

/// WAL records by their ids.
pub(crate) type Records = BTreeMap<u64, Vec<u8>>;

/// Reads the readable records of the table and of `more`. `compacted_to` has, for each series, the id of the
/// first record that is not compacted.
///
/// # Errors
/// An interrupt.
pub(crate) fn read(
    db: &Connection,
    compacted_to: &HashMap<i64, u64>,
    more: Records,
) -> EngineResult<SalvagedWal> {
    let from = db.query_row("SELECT compacted_to FROM wal_state", [], |row| row.get::<_, u64>(0));
    let from = unless_interrupted(from)?;
    let is_state_lost = from.is_none();
    let from = from.or_else(|| compacted_to.values().min().copied()).unwrap_or(0);
    let mut records = more;
    let is_damaged = Table::of(db, "wal")?.read(db, &mut |row| {
        let found = match row.first() {
            Some(Value::Integer(id)) => record(*id, &row),
            _ => None,
        };
        let is_sound = found.is_some();
        records.extend(found);
        is_sound
    })?;
    let mut salvaged = SalvagedWal { is_damaged: is_damaged || is_state_lost, ..SalvagedWal::default() };
    for (id, record) in records.range(from..) {
        for entry in wal_record::decode(record).unwrap_or_default() {
            if let Some((epoch, seq)) = entry.number {
                salvaged.arrived.entry(epoch).or_default().insert(seq);
            }
            if compacted_to.get(&entry.series).is_some_and(|to| to <= id) {
                salvaged.points.entry(entry.series).or_default().push(entry.point);
            }
        }
    }
    Ok(salvaged)
}

/// The record in a row of two columns with this rowid, if it is intact.
pub(crate) fn record(id: i64, row: &[Value]) -> Option<(u64, Vec<u8>)> {
    let [_, Value::Blob(record)] = row else { return None };
    wal_record::decode(record)?;
    Some((u64::try_from(id).ok()?, record.clone()))
}
