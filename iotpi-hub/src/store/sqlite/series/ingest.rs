//! Readings on their way in: which series each belongs to, whether it came before, the journal, and when it is time to
//! fold.
//!
//! The writer's thread owns it. What the writes of one transaction add is kept apart until the transaction is on the
//! disk: then it is told to everybody, or it never was.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use iotpi_core::{ModuleId, NewGap, Quantity, Reading, SensorType, Unit};
use rusqlite::{Connection, params};

use super::{
    compaction,
    dedup::{Added, Deliveries},
    gaps,
    memtable::Tail,
    point::Point,
    removed::{self, REMOVED},
    wal::{self, Slots},
    wal_record::{self, Entry, Front},
};
use crate::store::sqlite::{
    columns::parsed,
    failure::{Fail, Failure, Work},
    modules,
};
use crate::store::{Now, Recorded, SeriesKey, Steady, StoreError};

/// So many waiting records a series, and the whole is folded: each fold rewrites some pages of every series, so seldom is
/// kind to the card. (Folding every 5 minutes instead of every 30 wrote 0.3 GB a day more, of 50 series at 1 Hz.)
const FOLD_AT_A_SERIES: usize = 2000;
/// The least and the most waiting records in all. The most bounds the engine's memory (some 6 MB) and how long a start reads.
/// 50 series at 1 Hz come to 90,000 in half an hour; a lower bound would fold them more often (65,536 wrote 0.07 GB a day
/// more).
const FOLD_AT: std::ops::RangeInclusive<usize> = 8_192..=98_304;
/// What waits longer is folded even if it is little.
pub(crate) const FOLD_AFTER: Duration = Duration::from_secs(30 * 60);
/// Folding that failed (the disk is full) is tried again after so long.
const FOLD_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// So many records are folded in one transaction, and at least one series: some 2 ms.
const FOLD_STEP: usize = 4096;

/// Where readings go in.
#[derive(Debug)]
pub(crate) struct Journal {
    slots: Slots,
    tail: Arc<Tail>,
    deliveries: Arc<Mutex<Deliveries>>,
    open: Open,
    folding: Option<Folding>,
    /// Whether there may be records of removed modules, and when to go on deleting them.
    removed: bool,
    delete_not_before: Option<Instant>,
    /// When it was last folded, in steady time; when nobody tells the time, size alone decides.
    folded_at: Option<Steady>,
    /// In place of the rule: fold when so many wait. For tests.
    fold_at: Option<usize>,
    claim: Claim,
}

/// Whether this process is the one that writes to the journal.
#[derive(Debug, Clone, Copy)]
enum Claim {
    /// It has only read so far, when SQLite's `data_version` was this.
    Read(i64),
    /// It has written itself down as this owner.
    Owner(i64),
}

/// What the transaction that is open has added.
#[derive(Debug, Default)]
struct Open {
    entries: Vec<Entry>,
    series: Vec<(SeriesKey, i64, Quantity)>,
    added: Added,
    removed: Vec<ModuleId>,
    mark: Option<wal::Mark>,
    folded: Vec<i64>,
    /// Series and the moments before which some of their records were removed.
    expired: Vec<(i64, i64)>,
    all_folded: bool,
    /// Nothing is left of removed modules.
    all_deleted: bool,
    claimed: Option<i64>,
}

/// A fold under way.
#[derive(Debug)]
struct Folding {
    /// Everything before this position.
    cut: u64,
    /// Series yet to do, last first.
    rows: Vec<i64>,
    /// It failed; not again until then.
    not_before: Option<Instant>,
}

impl Journal {
    /// Reads what is in the database: the series, the numbers, and the part of the journal that is not folded.
    ///
    /// # Errors
    /// SQLite's; damage.
    pub(crate) fn load(db: &Connection, fold_at: Option<usize>) -> Work<Self> {
        let tail = Arc::new(Tail::default());
        let mut folded = std::collections::HashMap::new();
        let mut series = db.prepare(
            "SELECT id, module_id, sensor, unit, folded, (SELECT min(first_us) FROM chunks WHERE series_id = series.id),
                    (SELECT last_us FROM chunks WHERE series_id = series.id ORDER BY first_us DESC, id DESC LIMIT 1)
             FROM series WHERE module_id <> ?1",
        )?;
        let mut rows = series.query([REMOVED])?;
        while let Some(row) = rows.next()? {
            let (id, sensor): (i64, SensorType) = (row.get(0)?, parsed(row, 2)?);
            let quantity = Quantity::new(sensor.clone(), parsed(row, 3)?);
            let taken = row.get::<_, Option<i64>>(5)?.zip(row.get(6)?);
            tail.add(id, SeriesKey { module_id: parsed(row, 1)?, sensor }, quantity, taken);
            folded.insert(id, row.get::<_, u64>(4)?);
        }
        let mut deliveries = Deliveries::load(db)?;
        let from = db.query_row("SELECT folded FROM progress", [], |row| row.get(0))?;
        let (mut slots, stream) = Slots::load(db, from)?;
        let mut at = 0;
        loop {
            match wal_record::front(&stream[at..]) {
                Front::End => break,
                Front::Damaged => return Err(Failure::damaged("the journal cannot be read").into()),
                Front::Frame(entries, length) => {
                    let position = from + at as u64;
                    for (row, seq) in entries.iter().filter_map(|entry| entry.number) {
                        deliveries.arrived(row, seq);
                    }
                    let waiting: Vec<_> = entries
                        .into_iter()
                        .filter(|entry| folded.get(&entry.series).is_some_and(|folded| *folded <= position))
                        .collect();
                    tail.push(&waiting);
                    at += length;
                }
            }
        }
        slots.end_at(at, &stream);
        Ok(Self {
            slots,
            tail,
            deliveries: Arc::new(Mutex::new(deliveries)),
            open: Open::default(),
            folding: None,
            removed: removed::first_series(db)?.is_some(),
            delete_not_before: None,
            folded_at: None,
            fold_at,
            claim: Claim::Read(data_version(db)?),
        })
    }

    /// Makes sure, in the open transaction and before it writes to the journal, that nobody else does. A process that begins
    /// to write takes over from the one before, which finds out here and must end.
    ///
    /// # Errors
    /// A fatal failure when another process took over.
    pub(crate) fn claim(&mut self, db: &Connection) -> Result<(), Failure> {
        match self.claim {
            Claim::Owner(me) => {
                let owner: i64 =
                    db.prepare_cached("SELECT owner FROM progress")?.query_row([], |row| row.get(0))?;
                if owner != me {
                    return Err(Failure::fatal("another hub took the database over"));
                }
            }
            Claim::Read(version) => {
                if data_version(db)? != version {
                    // Somebody wrote since it was read.
                    let fresh = Self::load(db, self.fold_at).map_err(Fail::into_failure)?;
                    self.slots = fresh.slots;
                    self.removed = fresh.removed;
                    self.tail.replace(&fresh.tail);
                    *lock(&self.deliveries) = std::mem::take(&mut *lock(&fresh.deliveries));
                }
                let mut me = [0; 8];
                getrandom::fill(&mut me).map_err(|error| Failure::passing(&error.to_string()))?;
                let me = i64::from_le_bytes(me) | 1;
                db.execute("UPDATE progress SET owner = ?1", [me])?;
                self.open.claimed = Some(me);
            }
        }
        Ok(())
    }

    /// What queries look at.
    pub(crate) fn tail(&self) -> Arc<Tail> {
        Arc::clone(&self.tail)
    }

    /// What accounts are made of.
    pub(crate) fn deliveries(&self) -> Arc<Mutex<Deliveries>> {
        Arc::clone(&self.deliveries)
    }

    /// Takes readings into the open transaction, all or none. See [`Store::record`](crate::store::Store::record).
    ///
    /// # Errors
    /// A series keeps another unit; too many series; SQLite's.
    pub(crate) fn record(
        &mut self,
        db: &Connection,
        readings: Vec<Reading>,
        max_series: u64,
        now: Now,
    ) -> Work<Recorded> {
        let (series, begun) = (self.open.series.len(), self.open.added.begun());
        let places = self.places(&readings);
        // Nothing is written for readings of series that are known, so there is nothing to take back.
        if places.iter().all(Option::is_some) && readings.iter().all(|reading| reading.number.is_none()) {
            return self.take(db, readings, places, max_series, now);
        }
        db.prepare_cached("SAVEPOINT record")?.execute([])?;
        let taken = self.take(db, readings, places, max_series, now);
        if taken.is_err() {
            self.open.series.truncate(series);
            self.open.added.truncate(begun);
            if !db.is_autocommit() {
                db.prepare_cached("ROLLBACK TO record")?.execute([])?;
            }
        }
        if !db.is_autocommit() {
            db.prepare_cached("RELEASE record")?.execute([])?;
        }
        taken
    }

    /// The series and units of those readings whose series are on the disk.
    fn places(&self, readings: &[Reading]) -> Vec<Option<(i64, Unit)>> {
        self.tail.look(|series| {
            let place = |reading: &Reading| {
                let one = series.find(&reading.module_id, reading.quantity.name_str())?;
                (!self.open.removed.contains(&reading.module_id)).then(|| (one.row, one.unit()))
            };
            readings.iter().map(place).collect()
        })
    }

    fn take(
        &mut self,
        db: &Connection,
        readings: Vec<Reading>,
        places: Vec<Option<(i64, Unit)>>,
        max_series: u64,
        now: Now,
    ) -> Work<Recorded> {
        let mut recorded = Recorded::default();
        let mut rows = Vec::with_capacity(readings.len());
        for (index, (reading, place)) in readings.iter().zip(places).enumerate() {
            let (row, unit) = match place {
                Some(place) => place,
                None => self.begun(db, reading, max_series, now, &mut recorded)?,
            };
            if unit != reading.quantity.unit() {
                return Err(StoreError::OtherUnit { index, unit }.into());
            }
            rows.push(row);
        }
        let deliveries = lock(&self.deliveries);
        let mut numbers = Vec::with_capacity(rows.len());
        for reading in &readings {
            let number = match reading.number {
                Some(n) => {
                    let count = deliveries.row(db, &mut self.open.added, &reading.module_id, n.epoch, now)?;
                    Some((count, n.seq))
                }
                None => None,
            };
            numbers.push(number);
        }
        drop(deliveries);
        self.note(readings, rows, numbers, now, recorded)
    }

    /// Notes what is new; from here on only a count with too many holes is refused.
    fn note(
        &mut self,
        readings: Vec<Reading>,
        rows: Vec<i64>,
        numbers: Vec<Option<(i64, u64)>>,
        now: Now,
        mut recorded: Recorded,
    ) -> Work<Recorded> {
        let noted = self.open.entries.len();
        for (index, ((reading, row), number)) in readings.into_iter().zip(rows).zip(numbers).enumerate() {
            if let Some((count, seq)) = number {
                match lock(&self.deliveries).take(&mut self.open.added, count, seq) {
                    Ok(true) => {}
                    Ok(false) => {
                        recorded.repeated.push(index);
                        continue;
                    }
                    Err(fail) => {
                        // Its numbers stay noted as arrived only in this transaction's memory: take them back.
                        let refused = self.open.entries.split_off(noted);
                        self.open.added.take_back(refused.iter().filter_map(|entry| entry.number));
                        return Err(fail);
                    }
                }
            }
            self.open.entries.push(Entry { series: row, point: Point::of(reading, now), number });
        }
        Ok(recorded)
    }

    /// The series of a reading that is not on the disk yet: begun in this transaction, now if need be.
    fn begun(
        &mut self,
        db: &Connection,
        reading: &Reading,
        max_series: u64,
        now: Now,
        recorded: &mut Recorded,
    ) -> Work<(i64, Unit)> {
        let key = SeriesKey { module_id: reading.module_id.clone(), sensor: reading.quantity.name() };
        let begun = self.open.series.iter().rev().find(|(begun, ..)| *begun == key);
        if let Some((_, row, quantity)) = begun {
            return Ok((*row, quantity.unit()));
        }
        if self.tail.look(super::memtable::Series::len) + self.open.series.len()
            >= usize::try_from(max_series).unwrap_or(usize::MAX)
        {
            return Err(StoreError::LimitReached { what: "series", limit: max_series }.into());
        }
        if modules::ensure(db, &key.module_id, now)? {
            recorded.new_modules.push(key.module_id.clone());
        }
        // Entries of an earlier series in this row, if there was one, are not this one's.
        let sql = "INSERT INTO series (module_id, sensor, unit, folded) VALUES (?1, ?2, ?3, ?4) RETURNING id";
        let unit = reading.quantity.unit();
        let row = params![key.module_id.as_str(), key.sensor.as_str(), unit.as_str(), self.slots.end()];
        let row = db.prepare_cached(sql)?.query_row(row, |row| row.get(0))?;
        self.open.series.push((key, row, reading.quantity.clone()));
        Ok((row, unit))
    }

    /// Keeps a gap in the open transaction. Answers whether the module was new.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn record_gap(
        &mut self,
        db: &Connection,
        module: &ModuleId,
        gap: &NewGap,
        now: Now,
    ) -> Work<bool> {
        let new = gaps::record(db, module, gap, now)?;
        let deliveries = lock(&self.deliveries);
        if gaps::is_trim_due(db, gap) {
            gaps::trim(db, &deliveries, module)?;
        }
        deliveries.row(db, &mut self.open.added, module, gap.epoch, now)?;
        deliveries.note_gap(&mut self.open.added, module, gap.epoch, gap.first_seq, gap.last_seq);
        Ok(new)
    }

    /// Removes some gaps that expire. Answers whether there were any.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn expire_gaps(&self, db: &Connection, expiring: &gaps::Expiring) -> Work<bool> {
        gaps::expire(db, &lock(&self.deliveries), expiring)
    }

    /// The open transaction removes a module.
    pub(crate) fn removed(&mut self, module: &ModuleId) {
        // What the transaction took in of it before goes with it: a series that begins now may get the same row.
        let mut rows: Vec<i64> =
            self.tail.look(|series| series.behind(None, Some(module)).map(|one| one.row).collect());
        let begun = self.open.series.iter().filter(|(key, ..)| key.module_id == *module);
        rows.extend(begun.map(|(_, row, _)| *row));
        self.open.entries.retain(|entry| !rows.contains(&entry.series));
        self.open.series.retain(|(key, ..)| key.module_id != *module);
        self.open.removed.push(module.clone());
    }

    /// The open transaction removes records of a series from before a moment.
    pub(crate) fn expired(&mut self, row: i64, before_us: i64) {
        self.open.expired.push((row, before_us));
    }

    /// Writes what the transaction has taken in. The last thing before it is committed.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn write(&mut self, db: &Connection) -> Work<()> {
        lock(&self.deliveries).retire(db, &mut self.open.added)?;
        if self.open.entries.is_empty() {
            return Ok(());
        }
        self.open.mark = Some(self.slots.mark());
        let mut bytes = Vec::new();
        wal_record::encode(&self.open.entries, &mut bytes);
        self.slots.append(db, &bytes)
    }

    /// The transaction is on the disk.
    pub(crate) fn committed(&mut self) {
        let open = std::mem::take(&mut self.open);
        if let Some(me) = open.claimed {
            self.claim = Claim::Owner(me);
        }
        let mut deliveries = lock(&self.deliveries);
        // Before what the module said afterwards.
        for module in &open.removed {
            self.tail.forget(module);
        }
        for (key, row, quantity) in open.series {
            self.tail.add(row, key, quantity, None);
        }
        if !open.entries.is_empty() {
            self.tail.push(&open.entries);
        }
        for row in open.folded {
            self.tail.folded(row);
        }
        for (row, before_us) in open.expired {
            self.tail.expired(row, before_us);
        }
        if open.all_folded
            && let Some(folding) = self.folding.take()
        {
            self.slots.release(folding.cut);
            deliveries.saved();
        }
        deliveries.apply(open.added);
        self.removed = (self.removed && !open.all_deleted) || !open.removed.is_empty();
        for module in open.removed {
            deliveries.forget(&module);
        }
    }

    /// The transaction was undone.
    pub(crate) fn rolled_back(&mut self) {
        let open = std::mem::take(&mut self.open);
        if let Some(mark) = open.mark {
            self.slots.undo(mark);
        }
        self.unfold(open.folded);
        self.delete_later();
    }

    /// What could not be folded in the open transaction waits a while.
    pub(crate) fn fold_later(&mut self) {
        let folded = std::mem::take(&mut self.open.folded);
        self.open.all_folded = false;
        self.unfold(folded);
    }

    fn unfold(&mut self, folded: Vec<i64>) {
        if let Some(folding) = &mut self.folding {
            folding.rows.extend(folded.iter().rev());
            folding.not_before = Some(Instant::now() + FOLD_AGAIN_AFTER);
        }
    }

    /// Whether there is something to fold right now.
    pub(crate) fn is_folding(&self) -> bool {
        self.folding.as_ref().is_some_and(|folding| folding.not_before.is_none_or(|at| at <= Instant::now()))
    }

    /// Whether records of removed modules are to be deleted right now.
    pub(crate) fn is_deleting(&self) -> bool {
        self.removed && self.delete_not_before.is_none_or(|at| at <= Instant::now())
    }

    /// Deletes some records of removed modules in the open transaction.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn delete_some(&mut self, db: &Connection) -> Work<()> {
        self.delete_not_before = None;
        self.open.all_deleted = !removed::delete_records(db)?;
        Ok(())
    }

    /// What could not be deleted in the open transaction waits a while.
    pub(crate) fn delete_later(&mut self) {
        self.open.all_deleted = false;
        self.delete_not_before = Some(Instant::now() + FOLD_AGAIN_AFTER);
    }

    /// Begins to fold when so much waits that it is worth it. Between transactions.
    pub(crate) fn fold_if_full(&mut self) {
        let (waiting, series) = self.tail.look(|series| (series.waiting(), series.len()));
        let usual = (series * FOLD_AT_A_SERIES).clamp(*FOLD_AT.start(), *FOLD_AT.end());
        if waiting >= self.fold_at.unwrap_or(usual) {
            self.fold_all();
        }
    }

    /// Begins to fold when what waits has waited long.
    pub(crate) fn fold_if_old(&mut self, now: Now) {
        let since = *self.folded_at.get_or_insert(now.steady);
        if now.steady.0.since(since.0) >= FOLD_AFTER {
            self.folded_at = Some(now.steady);
            self.fold_all();
        }
    }

    /// Begins to fold everything that is on the disk, unless a fold is under way.
    pub(crate) fn fold_all(&mut self) {
        if self.folding.is_none() && self.tail.look(super::memtable::Series::waiting) > 0 {
            let cut = self.slots.end();
            let mut rows = self.tail.freeze(cut);
            rows.reverse();
            self.folding = Some(Folding { cut, rows, not_before: None });
        }
    }

    /// Folds a few series in the open transaction.
    ///
    /// # Errors
    /// SQLite's; damage when a chunk cannot be read.
    pub(crate) fn fold_some(&mut self, db: &Connection) -> Work<()> {
        let Some(folding) = &mut self.folding else { return Ok(()) };
        let mut records = 0;
        while let Some(row) = folding.rows.pop() {
            let points = self.tail.frozen(row);
            // Noted first: when it fails, the row goes back to those yet to do.
            self.open.folded.push(row);
            compaction::series(db, row, &points, folding.cut)?;
            records += points.len();
            if records >= FOLD_STEP {
                break;
            }
        }
        if folding.rows.is_empty() {
            lock(&self.deliveries).save(db)?;
            db.prepare_cached("UPDATE progress SET folded = ?1")?.execute([folding.cut])?;
            self.open.all_folded = true;
        }
        Ok(())
    }
}

/// Changes whenever another connection commits.
fn data_version(db: &Connection) -> Result<i64, rusqlite::Error> {
    db.pragma_query_value(None, "data_version", |row| row.get(0))
}

fn lock(deliveries: &Mutex<Deliveries>) -> MutexGuard<'_, Deliveries> {
    deliveries.lock().unwrap_or_else(PoisonError::into_inner)
}
