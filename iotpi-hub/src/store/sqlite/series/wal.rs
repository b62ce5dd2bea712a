//! The journal's stream of bytes, cut into rows of one size that are used over and over.
//!
//! A commit that adds 100 bytes rewrites one row in place: one page of the WAL, where inserting and deleting rows would
//! dirty four (the row's, its parent, the list of free pages, the first page of the file). Measured in
//! `docs/design/0011-journal.md`.

use std::collections::VecDeque;

use rusqlite::{Connection, params};

use crate::store::sqlite::failure::{Failure, Work};

/// The size of a slot: with its row's header it fills a page of 512 bytes.
pub(crate) const SLOT_BYTES: usize = 456;

/// Where the journal's bytes lie.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// Slots in use, as the positions of their first bytes and their rows, in order.
    used: VecDeque<(u64, i64)>,
    free: Vec<i64>,
    /// The first row that was never used.
    next: i64,
    /// Where the next byte goes.
    end: u64,
    /// What the last slot holds, if it is not full.
    tail: Vec<u8>,
}

/// A state to come back to.
#[derive(Debug)]
pub(crate) struct Mark {
    used: usize,
    next: i64,
    end: u64,
    tail: Vec<u8>,
}

impl Slots {
    /// Reads the stream from the position `from` on. The caller says with [`Self::end_at`] where it ends.
    ///
    /// # Errors
    /// SQLite's; a failure that counts as damage when slots are missing.
    pub(crate) fn load(db: &Connection, from: u64) -> Work<(Self, Vec<u8>)> {
        let mut slots = Self::default();
        let mut stream = Vec::new();
        let mut rows = db.prepare("SELECT slot, first, body FROM journal ORDER BY first")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (slot, first): (i64, u64) = (row.get(0)?, row.get(1)?);
            slots.next = slots.next.max(slot + 1);
            if first + SLOT_BYTES as u64 <= from {
                slots.free.push(slot);
                continue;
            }
            let body = row.get_ref(2)?.as_blob()?;
            let expected = slots
                .used
                .back()
                .map_or(from - from % SLOT_BYTES as u64, |(last, _)| last + SLOT_BYTES as u64);
            if first != expected || body.len() != SLOT_BYTES {
                return Err(Failure::damaged("the journal has a hole").into());
            }
            let skipped = usize::try_from(from.saturating_sub(first)).unwrap_or(SLOT_BYTES);
            stream.extend(body.get(skipped..).unwrap_or_default());
            slots.used.push_back((first, slot));
        }
        slots.end = from;
        Ok((slots, stream))
    }

    /// The stream ends `length` bytes behind where it was loaded from; `stream` is what was loaded.
    pub(crate) fn end_at(&mut self, length: usize, stream: &[u8]) {
        self.end += length as u64;
        let in_last = usize::try_from(self.end % SLOT_BYTES as u64).unwrap_or(0);
        // Bytes before the loaded ones are folded already: nobody reads them again.
        let known = stream.get(length.saturating_sub(in_last)..length).unwrap_or_default();
        self.tail = vec![0; in_last - known.len()];
        self.tail.extend(known);
        // Slots behind the end hold nothing.
        while self.used.back().is_some_and(|(first, _)| *first >= self.end) {
            self.free.extend(self.used.pop_back().map(|(_, slot)| slot));
        }
    }

    /// Where the next byte goes.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The state now, to come back to when the transaction does not hold.
    pub(crate) fn mark(&self) -> Mark {
        Mark { used: self.used.len(), next: self.next, end: self.end, tail: self.tail.clone() }
    }

    /// Back to a state nothing was released since.
    pub(crate) fn undo(&mut self, mark: Mark) {
        // Slots that were free go back in the order they came from; rows that were new never were.
        while self.used.len() > mark.used {
            let taken = self.used.pop_back().map(|(_, slot)| slot);
            self.free.extend(taken.filter(|slot| *slot < mark.next));
        }
        (self.next, self.end, self.tail) = (mark.next, mark.end, mark.tail);
    }

    /// Appends bytes to the stream.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn append(&mut self, db: &Connection, mut bytes: &[u8]) -> Work<()> {
        let mut write = db.prepare_cached(
            "INSERT INTO journal (slot, first, body) VALUES (?1, ?2, ?3)
             ON CONFLICT (slot) DO UPDATE SET first = excluded.first, body = excluded.body",
        )?;
        while !bytes.is_empty() {
            if self.tail.is_empty() {
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.next += 1;
                    self.next - 1
                });
                self.used.push_back((self.end, slot));
            }
            let (now, rest) = bytes.split_at(bytes.len().min(SLOT_BYTES - self.tail.len()));
            bytes = rest;
            self.tail.extend(now);
            self.end += now.len() as u64;
            let Some((first, slot)) = self.used.back().copied() else {
                return Err(Failure::damaged("the journal has no last slot").into());
            };
            let length = self.tail.len();
            self.tail.resize(SLOT_BYTES, 0);
            write.execute(params![slot, first, self.tail])?;
            self.tail.truncate(if length == SLOT_BYTES { 0 } else { length });
        }
        Ok(())
    }

    /// Everything before the position `folded` is no longer needed.
    pub(crate) fn release(&mut self, folded: u64) {
        while self.used.front().is_some_and(|(first, _)| first + SLOT_BYTES as u64 <= folded) {
            self.free.extend(self.used.pop_front().map(|(_, slot)| slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE journal (slot INTEGER PRIMARY KEY, first INTEGER, body BLOB)")
            .unwrap();
        db
    }

    proptest! {
        #[test]
        fn what_was_appended_is_read_back_from_anywhere(
            pieces in prop::collection::vec((prop::collection::vec(1_u8.., 1..1500), any::<bool>()), 1..12),
            from: prop::sample::Index,
        ) {
            let db = database();
            let mut slots = Slots::default();
            let (mut stream, mut released) = (Vec::<u8>::new(), 0);

            for (piece, release) in &pieces {
                slots.append(&db, piece).unwrap();
                stream.extend(piece);
                if *release {
                    released = stream.len() as u64;
                    slots.release(released);
                }
                // What is undone leaves no trace, once the transaction is rolled back.
                let mark = slots.mark();
                db.execute_batch("BEGIN").unwrap();
                slots.append(&db, &[9; 700]).unwrap();
                db.execute_batch("ROLLBACK").unwrap();
                slots.undo(mark);
            }

            let from = released + from.index(stream.len() - released as usize + 1) as u64;
            let (mut loaded, found) = Slots::load(&db, from).unwrap();
            let rest = &stream[from as usize..];
            prop_assert_eq!(&found[..rest.len()], rest);
            prop_assert!(found[rest.len()..].iter().all(|byte| *byte == 0), "zeros behind the end");

            loaded.end_at(rest.len(), &found);
            prop_assert_eq!(loaded.end(), stream.len() as u64);
            loaded.append(&db, b"more").unwrap();
            let (_, found) = Slots::load(&db, from).unwrap();
            prop_assert_eq!(&found[rest.len()..rest.len() + 4], b"more");
        }
    }

    #[test]
    fn slots_are_used_again() {
        let db = database();
        let mut slots = Slots::default();

        for _ in 0..100 {
            slots.append(&db, &[1; 1000]).unwrap();
            slots.release(slots.end());
        }

        let rows: i64 = db.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
        assert!(rows <= 4, "{rows} rows");
    }

    #[test]
    fn a_missing_slot_is_damage() {
        let db = database();
        Slots::default().append(&db, &[1; 2000]).unwrap();

        db.execute("DELETE FROM journal WHERE slot = 1", []).unwrap();

        assert!(Slots::load(&db, 0).is_err());
    }
}
