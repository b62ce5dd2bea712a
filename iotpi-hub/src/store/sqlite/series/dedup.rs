//! The sequence numbers that have arrived, that are lost, and that are missing.
//!
//! The numbers of an epoch are a few ranges in memory. The WAL has each number beside its reading, so a
//! reading and the record of its arrival are one write; compacted numbers are stored as ranges.

use std::collections::HashMap;

use iotpi_core::{ModuleId, Timestamp, model::gap::Delivery};
use rusqlite::{Connection, params};

use super::range_set::{MAX_RANGES, RangeSet};
use crate::store::sqlite::{
    columns::parsed,
    failure::{EngineResult, Failure},
};
use crate::store::{Now, StoreError};

/// The maximum number of epochs of a module whose numbers are remembered. Of older epochs only the totals
/// remain: their readings would be stored again if they were sent again.
pub(crate) const MAX_EPOCHS: usize = 64;

/// All epochs of all modules.
#[derive(Debug, Default)]
pub(crate) struct Dedup {
    modules: HashMap<ModuleId, Module>,
    /// The module of each row.
    owners: HashMap<i64, ModuleId>,
}

#[derive(Debug, Default)]
struct Module {
    /// Oldest first.
    epochs: Vec<Epoch>,
    earlier: Option<Delivery>,
}

#[derive(Debug)]
struct Epoch {
    row: i64,
    epoch: u64,
    since: Timestamp,
    arrived: RangeSet,
    lost: RangeSet,
    /// Whether `arrived` differs from the stored ranges.
    changed: bool,
}

/// The additions of one transaction, until it is on disk.
#[derive(Debug, Default)]
pub(crate) struct PendingDedup {
    arrived: HashMap<i64, RangeSet>,
    new_epochs: Vec<(ModuleId, u64, i64, Timestamp)>,
    lost: Vec<(ModuleId, u64, u64, u64)>,
    retired: Vec<(ModuleId, i64)>,
}

impl PendingDedup {
    /// The number of epochs that the transaction has created.
    pub(crate) fn new_epochs(&self) -> usize {
        self.new_epochs.len()
    }

    /// Drops the epochs created since then: their rows were rolled back.
    pub(crate) fn truncate(&mut self, new_epochs: usize) {
        for (_, _, row, _) in self.new_epochs.drain(new_epochs..) {
            self.arrived.remove(&row);
        }
    }

    /// Drops numbers that were added as arrived.
    pub(crate) fn remove(&mut self, numbers: impl Iterator<Item = (i64, u64)>) {
        for (row, seq) in numbers {
            if let Some(arrived) = self.arrived.get_mut(&row) {
                arrived.remove(seq);
            }
        }
    }

    /// Adds sequence numbers that a module has reported as lost.
    pub(crate) fn add_lost(&mut self, module: &ModuleId, epoch: u64, first: u64, last: u64) {
        self.lost.push((module.clone(), epoch, first, last));
    }
}

impl Dedup {
    /// Reads the stored epochs. [`Self::mark_arrived`] adds the numbers of the WAL.
    pub(crate) fn load(db: &Connection) -> EngineResult<Self> {
        let mut all = Self::default();
        let mut epochs =
            db.prepare("SELECT id, module_id, epoch, since_us, arrived, lost FROM epochs ORDER BY id")?;
        let mut rows = epochs.query([])?;
        while let Some(row) = rows.next()? {
            let (id, module): (i64, ModuleId) = (row.get(0)?, parsed(row, 1)?);
            let arrived = RangeSet::from_bytes(row.get_ref(4)?.as_blob()?)
                .ok_or_else(|| Failure::damaged("a list of numbers cannot be read"))?;
            let lost = RangeSet::from_bytes(row.get_ref(5)?.as_blob()?)
                .ok_or_else(|| Failure::damaged("a list of lost numbers cannot be read"))?;
            all.begin(module, row.get(2)?, id, Timestamp::from_micros(row.get(3)?), arrived);
            if let Some(count) = all.count(id) {
                count.lost = lost;
            }
        }
        let mut gaps = db.prepare("SELECT module_id, epoch, first_seq, last_seq FROM gaps")?;
        let mut rows = gaps.query([])?;
        while let Some(row) = rows.next()? {
            all.lost(&parsed(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        }
        let mut earlier =
            db.prepare("SELECT module_id, since_us, expected, received, lost FROM retired_epochs")?;
        let mut rows = earlier.query([])?;
        while let Some(row) = rows.next()? {
            let (expected, received, lost): (u64, u64, u64) = (row.get(2)?, row.get(3)?, row.get(4)?);
            let since = Timestamp::from_micros(row.get(1)?);
            let mut earlier = Delivery::new(since);
            (earlier.expected, earlier.received, earlier.lost) = (expected, received, lost);
            earlier.missing = expected.saturating_sub(received + lost);
            all.modules.entry(parsed(row, 0)?).or_default().earlier = Some(earlier);
        }
        Ok(all)
    }

    fn begin(&mut self, module: ModuleId, epoch: u64, row: i64, since: Timestamp, arrived: RangeSet) {
        self.owners.insert(row, module.clone());
        let count = Epoch { row, epoch, since, arrived, lost: RangeSet::default(), changed: false };
        self.modules.entry(module).or_default().epochs.push(count);
    }

    fn count(&mut self, row: i64) -> Option<&mut Epoch> {
        let module = self.modules.get_mut(self.owners.get(&row)?)?;
        module.epochs.iter_mut().find(|count| count.row == row)
    }

    /// Adds a number from the WAL.
    pub(crate) fn mark_arrived(&mut self, row: i64, seq: u64) {
        if let Some(count) = self.count(row) {
            count.arrived.insert(seq);
            count.changed = true;
        }
    }

    fn lost(&mut self, module: &ModuleId, epoch: u64, first: u64, last: u64) {
        let epochs = self.modules.get_mut(module).map(|m| m.epochs.as_mut_slice()).unwrap_or_default();
        if let Some(count) = epochs.iter_mut().find(|count| count.epoch == epoch) {
            count.lost.insert_range(first, last);
            // If there are too many ranges, the first ones count as missing instead.
            count.lost.keep_last(MAX_RANGES);
        }
    }

    /// The row of an epoch; created if necessary.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn epoch_id(
        &self,
        db: &Connection,
        pending: &mut PendingDedup,
        module: &ModuleId,
        epoch: u64,
        now: Now,
    ) -> EngineResult<i64> {
        let known = self.modules.get(module).and_then(|m| m.epochs.iter().find(|c| c.epoch == epoch));
        if let Some(count) = known.filter(|count| !pending.retired.iter().any(|(_, row)| *row == count.row)) {
            return Ok(count.row);
        }
        if let Some((_, _, row, _)) = pending.new_epochs.iter().find(|(m, e, ..)| m == module && *e == epoch)
        {
            return Ok(*row);
        }
        let sql = "INSERT INTO epochs (module_id, epoch, since_us, arrived) VALUES (?1, ?2, ?3, x'')
                   ON CONFLICT (module_id, epoch) DO UPDATE SET epoch = epoch RETURNING id";
        let row = db
            .prepare_cached(sql)?
            .query_row(params![module.as_str(), epoch, now.wall.as_micros()], |row| row.get(0))?;
        pending.new_epochs.push((module.clone(), epoch, row, now.wall));
        Ok(row)
    }

    /// Adds a number as arrived; returns false if it had arrived before.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`] if the epoch has too many ranges.
    pub(crate) fn insert(&self, pending: &mut PendingDedup, row: i64, seq: u64) -> EngineResult<bool> {
        let known = self
            .owners
            .get(&row)
            .and_then(|module| self.modules.get(module))
            .and_then(|module| module.epochs.iter().find(|count| count.row == row));
        #[cfg(feature = "sabotage")]
        if crate::sabotage::is(crate::sabotage::Sabotage::ForgetDedupe) {
            return Ok(true);
        }
        if known.is_some_and(|count| count.arrived.contains(seq)) {
            return Ok(false);
        }
        let new = pending.arrived.entry(row).or_default();
        if new.contains(seq) {
            return Ok(false);
        }
        let ranges = new.ranges().len() + known.map_or(0, |count| count.arrived.ranges().len());
        if ranges >= MAX_RANGES {
            let limit = MAX_RANGES as u64;
            return Err(StoreError::LimitReached { what: "holes in a module's numbers", limit }.into());
        }
        new.insert(seq);
        Ok(true)
    }

    /// Reduces epochs above the maximum to their totals.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn retire(&self, db: &Connection, pending: &mut PendingDedup) -> EngineResult<()> {
        let new_epochs: Vec<ModuleId> =
            pending.new_epochs.iter().map(|(module, ..)| module.clone()).collect();
        for module in new_epochs {
            let Some(known) = self.modules.get(&module) else { continue };
            let new = pending.new_epochs.iter().filter(|(m, ..)| *m == module).count();
            let over = (known.epochs.len() + new).saturating_sub(MAX_EPOCHS);
            for count in known.epochs.iter().take(over) {
                if pending.retired.iter().any(|(_, row)| *row == count.row) {
                    continue;
                }
                let account = count.account();
                let sql = "INSERT INTO retired_epochs (module_id, since_us, expected, received, lost)
                           VALUES (?1, ?2, ?3, ?4, ?5)
                           ON CONFLICT DO UPDATE SET expected = expected + excluded.expected,
                               received = received + excluded.received, lost = lost + excluded.lost";
                db.prepare_cached(sql)?.execute(params![
                    module.as_str(),
                    account.since.as_micros(),
                    account.expected,
                    account.received,
                    account.lost
                ])?;
                db.prepare_cached("DELETE FROM epochs WHERE id = ?1")?.execute([count.row])?;
                pending.retired.push((module.clone(), count.row));
            }
        }
        Ok(())
    }

    /// Applies the additions of a transaction that is on disk.
    pub(crate) fn apply(&mut self, pending: PendingDedup) {
        for (module, epoch, row, since) in pending.new_epochs {
            if !self.owners.contains_key(&row) {
                self.begin(module, epoch, row, since, RangeSet::default());
            }
        }
        for (module, row) in pending.retired {
            let Some(known) = self.modules.get_mut(&module) else { continue };
            let Some(at) = known.epochs.iter().position(|count| count.row == row) else { continue };
            let retired = known.epochs.remove(at).account();
            known.earlier = Some(known.earlier.map_or(retired, |earlier| sum(earlier, retired)));
            self.owners.remove(&row);
        }
        for (row, new) in pending.arrived {
            if let Some(count) = self.count(row) {
                count.arrived.extend(&new);
                count.changed = true;
            }
        }
        for (module, epoch, first, last) in pending.lost {
            self.lost(&module, epoch, first, last);
        }
    }

    /// Removes a module.
    pub(crate) fn remove_module(&mut self, module: &ModuleId) {
        self.modules.remove(module);
        self.owners.retain(|_, owner| owner != module);
    }

    /// Stores the numbers that have arrived, so that the WAL is no longer needed for them.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn save(&mut self, db: &Connection) -> EngineResult<()> {
        let mut save = db.prepare_cached("UPDATE epochs SET arrived = ?2 WHERE id = ?1")?;
        for count in self.modules.values_mut().flat_map(|m| &mut m.epochs).filter(|c| c.changed) {
            save.execute(params![count.row, count.arrived.to_bytes()])?;
        }
        Ok(())
    }

    /// Stores the lost numbers of an epoch, so that the gaps that reported them are no longer needed. Of an
    /// epoch with more than [`MAX_RANGES`] ranges, the first ones no longer count as lost after a restart.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn save_lost(&self, db: &Connection, module: &ModuleId, epoch: u64) -> EngineResult<()> {
        let known = self.modules.get(module).and_then(|m| m.epochs.iter().find(|c| c.epoch == epoch));
        if let Some(count) = known {
            let sql = "UPDATE epochs SET lost = ?2 WHERE id = ?1";
            db.prepare_cached(sql)?.execute(params![count.row, count.lost.newest(MAX_RANGES).to_bytes()])?;
        }
        Ok(())
    }

    /// The numbers of [`Self::save`] are on disk.
    pub(crate) fn mark_saved(&mut self) {
        self.modules.values_mut().flat_map(|m| &mut m.epochs).for_each(|count| count.changed = false);
    }

    /// The delivery account of a module; `None` if it does not number its readings.
    pub(crate) fn account(&self, module: &ModuleId) -> Option<Delivery> {
        let known = self.modules.get(module)?;
        known.epochs.iter().map(Epoch::account).chain(known.earlier).reduce(sum)
    }
}

impl Epoch {
    fn account(&self) -> Delivery {
        let mut known = self.arrived.clone();
        known.extend(&self.lost);
        let (expected, received) = (known.last(), self.arrived.len());
        let mut account = Delivery::new(self.since);
        (account.expected, account.received) = (expected, received);
        // Numbers that arrived after all are not lost.
        account.lost = known.len() - received;
        account.missing = expected - known.len();
        account
    }
}

fn sum(mut a: Delivery, b: Delivery) -> Delivery {
    a.since = a.since.min(b.since);
    a.expected += b.expected;
    a.received += b.received;
    a.lost += b.lost;
    a.missing += b.missing;
    a
}
