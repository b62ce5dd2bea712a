//! What is left of a damaged journal: its frames have checksums, so they are found again behind a hole.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, types::Value};

use super::table_scan::{Table, unless_interrupted};
use crate::store::sqlite::{
    failure::Work,
    series::{
        point::Point,
        range_set::RangeSet,
        wal::SLOT_BYTES,
        wal_record::{self, Entry, Front},
    },
};

/// How far the next frame is looked for behind a hole.
const MAX_LOOK: usize = 64 << 10;

/// Records that were waiting to be folded.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// By the row of their series, in the journal's order.
    pub(crate) points: BTreeMap<i64, Vec<Point>>,
    /// Numbers of counts that arrived.
    pub(crate) numbers: BTreeMap<i64, RangeSet>,
    pub(crate) is_damaged: bool,
}

/// Reads what can be read. `folded` are the series there are, each with the position up to which it was folded.
///
/// # Errors
/// An interrupt.
pub(crate) fn read(
    db: &Connection,
    folded: &HashMap<i64, u64>,
    more: &BTreeMap<u64, Vec<u8>>,
) -> Work<Remains> {
    let mut remains = Remains::default();
    let from = db.query_row("SELECT folded FROM progress", [], |row| row.get::<_, u64>(0));
    let from = unless_interrupted(from)?;
    let least = from.or_else(|| folded.values().min().copied()).unwrap_or(0);
    let more = more.iter().filter(|(first, _)| **first + SLOT_BYTES as u64 > least);
    let mut slots: BTreeMap<u64, Vec<u8>> = more.map(|(first, body)| (*first, body.clone())).collect();
    let table = Table::of(db, "journal")?;
    remains.is_damaged = from.is_none()
        | table.read(db, &mut |row| {
            let slot = slot(&row);
            let is_slot = slot.is_some();
            slots.extend(slot.filter(|(first, _)| first + SLOT_BYTES as u64 > least));
            is_slot
        })?;
    let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
    for (first, body) in slots {
        match runs.last_mut() {
            Some((begin, bytes)) if *begin + bytes.len() as u64 == first => bytes.extend(body),
            _ => runs.push((first, body)),
        }
    }
    for (begin, bytes) in runs {
        let skipped = usize::try_from(least.saturating_sub(begin)).unwrap_or(0).min(bytes.len());
        remains.take_run(begin + skipped as u64, &bytes[skipped..], folded);
    }
    Ok(remains)
}

/// The position and the bytes of a slot, if that is what a row of three columns is.
pub(crate) fn slot(row: &[Value]) -> Option<(u64, Vec<u8>)> {
    let [_, Value::Integer(first), Value::Blob(body)] = row else { return None };
    let first = u64::try_from(*first).ok().filter(|first| first.is_multiple_of(SLOT_BYTES as u64))?;
    (body.len() == SLOT_BYTES).then(|| (first, body.clone()))
}

impl Remains {
    fn take_run(&mut self, begin: u64, bytes: &[u8], folded: &HashMap<i64, u64>) {
        let (mut at, mut looked) = (0, 0);
        while at < bytes.len() && looked < MAX_LOOK {
            match wal_record::front(&bytes[at..]) {
                Front::Frame(entries, length) => {
                    self.take_frame(begin + at as u64, entries, folded);
                    (at, looked) = (at + length, 0);
                }
                Front::End if bytes[at..].iter().all(|byte| *byte == 0) => return,
                Front::End | Front::Damaged => {
                    self.is_damaged = true;
                    (at, looked) = (at + 1, looked + 1);
                }
            }
        }
    }

    fn take_frame(&mut self, position: u64, entries: Vec<Entry>, folded: &HashMap<i64, u64>) {
        for Entry { series, point, number } in entries {
            if let Some((count, seq)) = number {
                self.numbers.entry(count).or_default().insert(seq);
            }
            if folded.get(&series).is_some_and(|folded| *folded <= position) {
                self.points.entry(series).or_default().push(point);
            }
        }
    }
}
