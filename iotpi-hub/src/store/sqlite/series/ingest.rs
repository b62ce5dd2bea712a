//! The write path of readings: assigns them to series, drops repeated ones, appends them to the WAL, and
//! decides when to compact.
//!
//! The writer thread owns it. The additions of a transaction are kept apart until the transaction is on disk.
//! Then they are applied to the memtable and to the de-duplication; if the transaction fails, they are
//! discarded.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use iotpi_core::{ModuleId, Quantity, Reading, SensorType, Unit, model::gap::NewGap};
use rusqlite::{Connection, params};

use super::{
    compaction,
    dedup::{Dedup, PendingDedup},
    gaps,
    memtable::{AllSeries, Memtable},
    point::Point,
    removed::{self, REMOVED},
    wal::{self, Wal},
    wal_record::WalEntry,
};
use crate::{
    lock::lock,
    store::{
        Now, Recorded, SeriesKey, Steady, StoreError,
        sqlite::{
            columns::{channel, channel_text, parsed},
            failure::{EngineError, EngineResult, Failure},
            modules,
        },
    },
};

/// Compaction starts when this many records per series are in the memtable. Each compaction rewrites some
/// pages of every series, so rare ones spare the card. (Every 5 minutes instead of every 30 wrote 0.3 GB a
/// day more, for 50 series at 1 Hz.)
const COMPACT_AT_PER_SERIES: usize = 2000;
/// The bounds of that number, of all series together. The upper one bounds the engine's memory (some 6 MB)
/// and the time of a start. 50 series at 1 Hz add 90,000 in half an hour; a lower bound would compact them
/// more often (65,536 wrote 0.07 GB a day more).
const COMPACT_AT: RangeInclusive<usize> = 8_192..=98_304;
/// Records that have waited this long are compacted even if they are few.
pub(crate) const COMPACT_AFTER: Duration = Duration::from_secs(30 * 60);
/// Background work that failed (the disk is full) is retried after this time.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// One transaction compacts this many records, and at least one series: about two milliseconds.
const COMPACTION_STEP: usize = 4096;

/// The write path of readings.
#[derive(Debug)]
pub(crate) struct Ingest {
    wal: Wal,
    memtable: Arc<Memtable>,
    dedup: Arc<Mutex<Dedup>>,
    /// What the open transaction adds.
    pending: Pending,
    compaction: Option<Compaction>,
    /// Compacted WAL records before this id may still have to be deleted.
    obsolete_before: Option<u64>,
    /// Whether there may be records of removed modules.
    has_removed: bool,
    /// Deletions failed and are not retried before this time.
    delete_not_before: Option<Instant>,
    /// The steady time of the last compaction that was due by age. While `compact_if_old` is not called, only the size decides.
    compacted_at: Option<Steady>,
    /// Replaces the rule of [`COMPACT_AT`] in tests.
    compact_at: Option<usize>,
    ownership: Ownership,
}

/// Whether this process may append to the WAL.
#[derive(Debug, Clone, Copy)]
enum Ownership {
    /// It has only read so far; SQLite's `data_version` was this.
    Reader(i64),
    /// It has recorded this random number as its own.
    Owner(i64),
}

/// What the open transaction has added.
#[derive(Debug, Default)]
struct Pending {
    entries: Vec<WalEntry>,
    series: Vec<(SeriesKey, i64, Quantity)>,
    dedup: PendingDedup,
    removed_modules: Vec<ModuleId>,
    /// The id of the next WAL record before the transaction appended one.
    wal_next_id: Option<u64>,
    compacted: Vec<i64>,
    /// Series, and times before which some of their records were removed.
    expired: Vec<(i64, i64)>,
    all_compacted: bool,
    all_removed_deleted: bool,
    all_obsolete_deleted: bool,
    owner: Option<i64>,
}

/// A compaction in progress.
#[derive(Debug)]
struct Compaction {
    /// It compacts the WAL records before this id.
    before: u64,
    /// Series that are not compacted yet, last first.
    series: Vec<i64>,
    /// A step failed and is not retried before this time.
    not_before: Option<Instant>,
}

impl Ingest {
    /// Reads the series, the sequence numbers, and the part of the WAL that is not compacted.
    ///
    /// # Errors
    /// SQLite's; damage.
    pub(crate) fn load(db: &Connection, compact_at: Option<usize>) -> EngineResult<Self> {
        let memtable = Arc::new(Memtable::default());
        let mut compacted_to = HashMap::new();
        let mut series = db.prepare(
            "SELECT id, module_id, sensor, channel, unit, compacted_to,
                    (SELECT min(first_us) FROM chunks WHERE series_id = series.id),
                    (SELECT last_us FROM chunks WHERE series_id = series.id ORDER BY first_us DESC, id DESC LIMIT 1)
             FROM series WHERE module_id <> ?1",
        )?;
        let mut rows = series.query([REMOVED])?;
        while let Some(row) = rows.next()? {
            let (id, sensor): (i64, SensorType) = (row.get(0)?, parsed(row, 2)?);
            let quantity = Quantity::new(sensor.clone(), parsed(row, 4)?);
            let chunks_us = row.get::<_, Option<i64>>(6)?.zip(row.get(7)?);
            let key = SeriesKey { module_id: parsed(row, 1)?, sensor, channel: channel(row, 3)? };
            memtable.add_series(id, key, quantity, chunks_us);
            compacted_to.insert(id, row.get::<_, u64>(5)?);
        }
        let mut dedup = Dedup::load(db)?;
        let from = db.query_row("SELECT compacted_to FROM wal_state", [], |row| row.get(0))?;
        let wal = Wal::load(db, from, |id, entries| {
            for (epoch, seq) in entries.iter().filter_map(|entry| entry.number) {
                dedup.mark_arrived(epoch, seq);
            }
            let is_uncompacted =
                |entry: &WalEntry| compacted_to.get(&entry.series).is_some_and(|to| *to <= id);
            memtable.insert(&entries.into_iter().filter(is_uncompacted).collect::<Vec<_>>());
        })?;
        Ok(Self {
            wal,
            memtable,
            dedup: Arc::new(Mutex::new(dedup)),
            pending: Pending::default(),
            compaction: None,
            obsolete_before: wal::has_before(db, from)?.then_some(from),
            has_removed: removed::first_series(db)?.is_some(),
            delete_not_before: None,
            compacted_at: None,
            compact_at,
            ownership: Ownership::Reader(data_version(db)?),
        })
    }

    /// Makes sure, in the open transaction and before it appends to the WAL, that no other process does. A process that starts to
    /// append takes over from the previous one, which notices it here and has to end.
    ///
    /// # Errors
    /// A fatal failure when another process took over.
    pub(crate) fn claim(&mut self, db: &Connection) -> Result<(), Failure> {
        match self.ownership {
            Ownership::Owner(own) => {
                let owner: i64 =
                    db.prepare_cached("SELECT owner FROM wal_state")?.query_row([], |row| row.get(0))?;
                if owner != own {
                    return Err(Failure::fatal("another hub took the database over"));
                }
            }
            Ownership::Reader(version) => {
                if data_version(db)? != version {
                    // Another process has written since the WAL was read.
                    let fresh = Self::load(db, self.compact_at).map_err(EngineError::into_failure)?;
                    self.wal = fresh.wal;
                    self.obsolete_before = fresh.obsolete_before;
                    self.has_removed = fresh.has_removed;
                    self.memtable.replace_with(&fresh.memtable);
                    *lock(&self.dedup) = std::mem::take(&mut *lock(&fresh.dedup));
                }
                let mut own = [0; 8];
                getrandom::fill(&mut own).map_err(|error| Failure::transient(&error.to_string()))?;
                let own = i64::from_le_bytes(own) | 1;
                db.execute("UPDATE wal_state SET owner = ?1", [own])?;
                self.pending.owner = Some(own);
            }
        }
        Ok(())
    }

    /// The memtable, for queries.
    pub(crate) fn memtable(&self) -> Arc<Memtable> {
        Arc::clone(&self.memtable)
    }

    /// The de-duplication, for delivery accounts.
    pub(crate) fn dedup(&self) -> Arc<Mutex<Dedup>> {
        Arc::clone(&self.dedup)
    }

    /// Adds readings to the open transaction, all or none. See [`WriteReadings::record`](crate::store::WriteReadings::record).
    ///
    /// # Errors
    /// A series has another unit; too many series; SQLite's.
    pub(crate) fn record(
        &mut self,
        db: &Connection,
        readings: Vec<Reading>,
        max_series: u64,
        now: Now,
    ) -> EngineResult<Recorded> {
        let (series, epochs) = (self.pending.series.len(), self.pending.dedup.new_epochs());
        let known = self.known_series(&readings);
        // Without a new series or a new epoch there is no statement to undo.
        if known.iter().all(Option::is_some) && readings.iter().all(|reading| reading.number.is_none()) {
            return self.record_all(db, readings, known, max_series, now);
        }
        db.prepare_cached("SAVEPOINT record")?.execute([])?;
        let recorded = self.record_all(db, readings, known, max_series, now);
        if recorded.is_err() {
            self.pending.series.truncate(series);
            self.pending.dedup.truncate(epochs);
            if !db.is_autocommit() {
                db.prepare_cached("ROLLBACK TO record")?.execute([])?;
            }
        }
        if !db.is_autocommit() {
            db.prepare_cached("RELEASE record")?.execute([])?;
        }
        recorded
    }

    /// The id and the unit of the series of each reading, if it is committed.
    fn known_series(&self, readings: &[Reading]) -> Vec<Option<(i64, Unit)>> {
        self.memtable.read(|all| {
            let known = |reading: &Reading| {
                let series = all.of_reading(reading)?;
                let is_removed = self.pending.removed_modules.contains(&reading.module_id);
                (!is_removed).then(|| (series.id, series.unit()))
            };
            readings.iter().map(known).collect()
        })
    }

    fn record_all(
        &mut self,
        db: &Connection,
        readings: Vec<Reading>,
        known: Vec<Option<(i64, Unit)>>,
        max_series: u64,
        now: Now,
    ) -> EngineResult<Recorded> {
        let mut recorded = Recorded::default();
        let mut series = Vec::with_capacity(readings.len());
        for (index, (reading, known)) in readings.iter().zip(known).enumerate() {
            let (id, unit) = match known {
                Some(known) => known,
                None => self.new_series(db, reading, max_series, now, &mut recorded)?,
            };
            if unit != reading.quantity.unit() {
                return Err(StoreError::OtherUnit { index, unit }.into());
            }
            series.push(id);
        }
        let dedup = lock(&self.dedup);
        let mut numbers = Vec::with_capacity(series.len());
        for reading in &readings {
            let number = match reading.number {
                Some(n) => {
                    let epoch =
                        dedup.epoch_id(db, &mut self.pending.dedup, &reading.module_id, n.epoch, now)?;
                    Some((epoch, n.seq))
                }
                None => None,
            };
            numbers.push(number);
        }
        drop(dedup);
        self.add_entries(readings, series, numbers, now, recorded)
    }

    /// Adds the readings that are not repeated. From here on only an epoch with too many ranges is refused.
    fn add_entries(
        &mut self,
        readings: Vec<Reading>,
        series: Vec<i64>,
        numbers: Vec<Option<(i64, u64)>>,
        now: Now,
        mut recorded: Recorded,
    ) -> EngineResult<Recorded> {
        let before = self.pending.entries.len();
        for (index, ((reading, series), number)) in readings.into_iter().zip(series).zip(numbers).enumerate()
        {
            if let Some((epoch, seq)) = number {
                match lock(&self.dedup).insert(&mut self.pending.dedup, epoch, seq) {
                    Ok(true) => {}
                    Ok(false) => {
                        recorded.repeated.push(index);
                        continue;
                    }
                    Err(error) => {
                        let refused = self.pending.entries.split_off(before);
                        self.pending.dedup.remove(refused.iter().filter_map(|entry| entry.number));
                        return Err(error);
                    }
                }
            }
            self.pending.entries.push(WalEntry { series, point: Point::of(reading, now), number });
        }
        Ok(recorded)
    }

    /// The series of a reading if it is not committed yet. This transaction may have created it; otherwise it is created now.
    fn new_series(
        &mut self,
        db: &Connection,
        reading: &Reading,
        max_series: u64,
        now: Now,
        recorded: &mut Recorded,
    ) -> EngineResult<(i64, Unit)> {
        let key = SeriesKey::of(reading);
        let created = self.pending.series.iter().rev().find(|(created, ..)| *created == key);
        if let Some((_, id, quantity)) = created {
            return Ok((*id, quantity.unit()));
        }
        if self.memtable.read(AllSeries::len) + self.pending.series.len()
            >= usize::try_from(max_series).unwrap_or(usize::MAX)
        {
            return Err(StoreError::LimitReached { what: "series", limit: max_series }.into());
        }
        if modules::ensure(db, &key.module_id, now)? {
            recorded.new_modules.push(key.module_id.clone());
        }
        // The id may have been that of a removed series, whose entries in the WAL are not this one's.
        let sql =
            "INSERT INTO series (module_id, sensor, channel, unit, compacted_to) VALUES (?1, ?2, ?3, ?4, ?5)
             RETURNING id";
        let unit = reading.quantity.unit();
        let channel = channel_text(key.channel.as_ref());
        let row =
            params![key.module_id.as_str(), key.sensor.as_str(), channel, unit.as_str(), self.wal.next_id()];
        let id = db.prepare_cached(sql)?.query_row(row, |row| row.get(0))?;
        self.pending.series.push((key, id, reading.quantity.clone()));
        Ok((id, unit))
    }

    /// Records a gap in the open transaction. Returns whether the module is new.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn record_gap(
        &mut self,
        db: &Connection,
        module: &ModuleId,
        gap: &NewGap,
        now: Now,
    ) -> EngineResult<bool> {
        let is_new = gaps::record(db, module, gap, now)?;
        let dedup = lock(&self.dedup);
        if gaps::is_trim_due(db, gap) {
            gaps::trim(db, &dedup, module)?;
        }
        dedup.epoch_id(db, &mut self.pending.dedup, module, gap.epoch, now)?;
        self.pending.dedup.add_lost(module, gap.epoch, gap.first_seq, gap.last_seq);
        Ok(is_new)
    }

    /// Removes some gaps that expire. Returns whether there were any.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn expire_gaps(&self, db: &Connection, expiring: &gaps::Expiring) -> EngineResult<bool> {
        gaps::expire(db, &lock(&self.dedup), expiring)
    }

    /// The open transaction removes a module.
    pub(crate) fn remove_module(&mut self, module: &ModuleId) {
        // Its entries of this transaction are dropped too: a series that is created now may get the same id.
        let mut ids: Vec<i64> =
            self.memtable.read(|all| all.after(None, Some(module)).map(|series| series.id).collect());
        let created = self.pending.series.iter().filter(|(key, ..)| key.module_id == *module);
        ids.extend(created.map(|(_, id, _)| *id));
        self.pending.entries.retain(|entry| !ids.contains(&entry.series));
        self.pending.series.retain(|(key, ..)| key.module_id != *module);
        self.pending.removed_modules.push(module.clone());
    }

    /// The open transaction removes records of a series from before a time.
    pub(crate) fn expire(&mut self, series: i64, before_us: i64) {
        self.pending.expired.push((series, before_us));
    }

    /// Appends what the transaction has added to the WAL. The last step before the commit.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn append(&mut self, db: &Connection) -> EngineResult<()> {
        lock(&self.dedup).retire(db, &mut self.pending.dedup)?;
        if self.pending.entries.is_empty() {
            return Ok(());
        }
        self.pending.wal_next_id = Some(self.wal.next_id());
        self.wal.append(db, &self.pending.entries)
    }

    /// The transaction is on the disk.
    pub(crate) fn committed(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if let Some(own) = pending.owner {
            self.ownership = Ownership::Owner(own);
        }
        let mut dedup = lock(&self.dedup);
        // First, because the module may have sent readings after its removal.
        for module in &pending.removed_modules {
            self.memtable.remove_module(module);
        }
        for (key, id, quantity) in pending.series {
            self.memtable.add_series(id, key, quantity, None);
        }
        if !pending.entries.is_empty() {
            self.memtable.insert(&pending.entries);
        }
        for series in pending.compacted {
            self.memtable.mark_compacted(series);
        }
        for (series, before_us) in pending.expired {
            self.memtable.expire(series, before_us);
        }
        if pending.all_compacted
            && let Some(compaction) = self.compaction.take()
        {
            self.obsolete_before = Some(compaction.before);
            dedup.mark_saved();
        }
        if pending.all_obsolete_deleted {
            self.obsolete_before = None;
        }
        dedup.apply(pending.dedup);
        self.has_removed =
            (self.has_removed && !pending.all_removed_deleted) || !pending.removed_modules.is_empty();
        for module in pending.removed_modules {
            dedup.remove_module(&module);
        }
    }

    /// The transaction was rolled back.
    pub(crate) fn rolled_back(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if let Some(next_id) = pending.wal_next_id {
            self.wal.reset(next_id);
        }
        self.revert(pending.compacted);
        self.delete_later();
    }

    /// The compaction step of the open transaction failed and is retried later.
    pub(crate) fn compact_later(&mut self) {
        let compacted = std::mem::take(&mut self.pending.compacted);
        self.pending.all_compacted = false;
        self.revert(compacted);
    }

    /// Puts series back that were compacted in a transaction that failed.
    fn revert(&mut self, compacted: Vec<i64>) {
        if let Some(compaction) = &mut self.compaction {
            compaction.series.extend(compacted.iter().rev());
            compaction.not_before = Some(Instant::now() + RETRY_AFTER);
        }
    }

    /// Whether there are records to compact now.
    pub(crate) fn is_compacting(&self) -> bool {
        self.compaction.as_ref().is_some_and(|one| one.not_before.is_none_or(|at| at <= Instant::now()))
    }

    /// Whether there may be rows to delete now: records of removed modules, compacted WAL records.
    pub(crate) fn is_deleting(&self) -> bool {
        (self.has_removed || self.obsolete_before.is_some())
            && self.delete_not_before.is_none_or(|at| at <= Instant::now())
    }

    /// Deletes some of these rows in the open transaction.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn delete_some(&mut self, db: &Connection) -> EngineResult<()> {
        self.delete_not_before = None;
        match self.obsolete_before {
            Some(before) => self.pending.all_obsolete_deleted = !wal::delete_some(db, before)?,
            None => self.pending.all_removed_deleted = !removed::delete_records(db)?,
        }
        Ok(())
    }

    /// The deletion of the open transaction failed and is retried later.
    pub(crate) fn delete_later(&mut self) {
        self.pending.all_removed_deleted = false;
        self.pending.all_obsolete_deleted = false;
        self.delete_not_before = Some(Instant::now() + RETRY_AFTER);
    }

    /// Starts a compaction when the memtable is large enough. Between transactions.
    pub(crate) fn compact_if_full(&mut self) {
        let (records, series) = self.memtable.read(|all| (all.records(), all.len()));
        let usual = (series * COMPACT_AT_PER_SERIES).clamp(*COMPACT_AT.start(), *COMPACT_AT.end());
        if records >= self.compact_at.unwrap_or(usual) {
            self.compact_all();
        }
    }

    /// Starts a compaction if the last one was long ago.
    pub(crate) fn compact_if_old(&mut self, now: Now) {
        let since = *self.compacted_at.get_or_insert(now.steady);
        if now.steady.0.since(since.0) >= COMPACT_AFTER {
            self.compacted_at = Some(now.steady);
            self.compact_all();
        }
    }

    /// Starts to compact all committed records, unless a compaction is in progress.
    pub(crate) fn compact_all(&mut self) {
        if self.compaction.is_none() && self.memtable.read(AllSeries::records) > 0 {
            let before = self.wal.next_id();
            let mut series = self.memtable.freeze(before);
            series.reverse();
            self.compaction = Some(Compaction { before, series, not_before: None });
        }
    }

    /// Compacts a few series in the open transaction.
    ///
    /// # Errors
    /// SQLite's; damage if a chunk cannot be decoded.
    pub(crate) fn compact_some(&mut self, db: &Connection) -> EngineResult<()> {
        let Some(compaction) = &mut self.compaction else { return Ok(()) };
        let mut records = 0;
        while let Some(series) = compaction.series.pop() {
            let points = self.memtable.frozen(series);
            // Recorded first: if it fails, the series is put back.
            self.pending.compacted.push(series);
            compaction::compact(db, series, &points, compaction.before)?;
            records += points.len();
            if records >= COMPACTION_STEP {
                break;
            }
        }
        if compaction.series.is_empty() {
            lock(&self.dedup).save(db)?;
            db.prepare_cached("UPDATE wal_state SET compacted_to = ?1")?.execute([compaction.before])?;
            self.pending.all_compacted = true;
        }
        Ok(())
    }
}

/// Changes whenever another connection commits.
fn data_version(db: &Connection) -> Result<i64, rusqlite::Error> {
    db.pragma_query_value(None, "data_version", |row| row.get(0))
}
