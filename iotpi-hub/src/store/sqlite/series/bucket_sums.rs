//! The compacted records of one series, summed by buckets of any width.
//!
//! Each record counts once: for each width of rollups it is in a rollup, in a block, or in a chunk that is
//! added record by record. Sums can be added, so a bucket may consist of all three.

use std::{collections::BTreeMap, ops::Range};

use rusqlite::{Connection, params};

use super::{
    chunk, rollup_blocks,
    sum::{SECOND, Sum, WIDTHS},
};
use crate::store::sqlite::failure::{EngineResult, Failure};

/// The sums of one series, by the start of the bucket.
#[derive(Debug)]
pub(crate) struct BucketSums {
    width_us: i64,
    most: usize,
    sums: BTreeMap<i64, Sum>,
    /// From this time on, buckets may be missing because the maximum number is reached.
    complete_until: i64,
}

impl BucketSums {
    /// No buckets yet. At least the first `most` buckets of `width_us` microseconds will be complete.
    pub(crate) fn new(width_us: i64, most: usize) -> Self {
        Self { width_us, most, sums: BTreeMap::new(), complete_until: i64::MAX }
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, taken_us: i64, value: Option<f64>) {
        self.sums.entry(start_of(taken_us, self.width_us)).or_default().add(value);
    }

    /// The complete buckets.
    pub(crate) fn complete(self) -> impl Iterator<Item = (i64, Sum)> {
        self.sums.into_iter().take_while(move |(start, _)| *start < self.complete_until)
    }

    /// Adds the compacted records of a series in a time range: whole units of the widest fitting width from
    /// the rollups, the rest at both ends from the next narrower width, and finally from the records
    /// themselves.
    ///
    /// # Errors
    /// SQLite's; damage.
    pub(crate) fn add_compacted(
        &mut self,
        db: &Connection,
        series: i64,
        time: Range<i64>,
    ) -> EngineResult<()> {
        let fits = |width: &i64| self.width_us % (width * SECOND) == 0;
        let widest = WIDTHS.iter().position(fits).unwrap_or(WIDTHS.len());
        self.add_units(db, series, time, &WIDTHS[widest..])
    }

    fn add_units(
        &mut self,
        db: &Connection,
        series: i64,
        time: Range<i64>,
        widths: &[i64],
    ) -> EngineResult<()> {
        if time.is_empty() {
            return Ok(());
        }
        let Some((width, narrower)) = widths.split_first() else {
            return self.add_chunks(db, series, 0, time);
        };
        let unit = width * SECOND;
        let first = time.start.div_euclid(unit).saturating_add(i64::from(time.start.rem_euclid(unit) > 0));
        let last = time.end.div_euclid(unit);
        if first >= last {
            return self.add_units(db, series, time, narrower);
        }
        let whole = first.saturating_mul(unit)..last.saturating_mul(unit);
        self.add_units(db, series, time.start..whole.start, narrower)?;
        self.add_rollups(db, series, *width, first..last)?;
        self.add_blocks(db, series, *width, whole.clone())?;
        self.add_chunks(db, series, *width, whole.clone())?;
        self.add_units(db, series, whole.end..time.end, narrower)
    }

    fn add_rollups(
        &mut self,
        db: &Connection,
        series: i64,
        width: i64,
        units: Range<i64>,
    ) -> EngineResult<()> {
        let mut statement = db.prepare_cached(ROLLUPS)?;
        let mut rows = statement.query(params![series, width, units.start, units.end])?;
        let mut part = Part::default();
        while let Some(row) = rows.next()? {
            let at_us = row.get::<_, i64>(0)?.saturating_mul(width * SECOND);
            let range = row.get::<_, Option<f64>>(4)?.zip(row.get(5)?);
            let sum = Sum { present: row.get(1)?, missing: row.get(2)?, sum: row.get(3)?, range };
            if !part.merge(self, at_us, &sum) {
                break;
            }
        }
        Ok(())
    }

    fn add_blocks(&mut self, db: &Connection, series: i64, width: i64, time: Range<i64>) -> EngineResult<()> {
        let mut found: BTreeMap<i64, Sum> = BTreeMap::new();
        rollup_blocks::stored(db, series, width, time, |begins_us, sums| {
            // Later blocks begin later, but may overlap this one.
            let begins = start_of(begins_us, self.width_us);
            if begins >= self.complete_until {
                return false;
            }
            if found.len() >= self.most && found.range(..begins).count() >= self.most {
                self.complete_until = begins;
                return false;
            }
            for (start, sum) in sums {
                found.entry(start_of(start, self.width_us)).or_default().merge(&sum);
            }
            true
        })?;
        for (start, sum) in found {
            self.sums.entry(start).or_default().merge(&sum);
        }
        Ok(())
    }

    /// Adds the records of the chunks that the rollups of a width do not include; with a width of 0, of all chunks.
    fn add_chunks(&mut self, db: &Connection, series: i64, width: i64, time: Range<i64>) -> EngineResult<()> {
        let mut statement = db.prepare_cached(if width == 0 { ALL_CHUNKS } else { UNROLLED_CHUNKS })?;
        let mut rows = statement.query(params![series, width, time.start, time.end])?;
        let mut part = Part::default();
        let mut is_wanted = true;
        while let Some(row) = rows.next()?
            && is_wanted
        {
            let add = |taken_us, value| {
                if taken_us < time.start {
                    return true;
                }
                is_wanted = taken_us < time.end && part.add(self, taken_us, value);
                is_wanted
            };
            chunk::values(row.get_ref(0)?.as_blob()?, add)
                .map_err(|damaged| Failure::damaged(&damaged.to_string()))?;
        }
        Ok(())
    }
}

/// The sums added from one ordered source of records.
#[derive(Debug, Default)]
struct Part {
    /// The bucket of the last addition.
    current: Option<i64>,
    found: usize,
}

impl Part {
    fn add(&mut self, to: &mut BucketSums, at_us: i64, value: Option<f64>) -> bool {
        self.next(to, at_us).map(|sum| sum.add(value)).is_some()
    }

    fn merge(&mut self, to: &mut BucketSums, at_us: i64, sum: &Sum) -> bool {
        self.next(to, at_us).map(|total| total.merge(sum)).is_some()
    }

    /// The sum of the bucket that contains this time; `None` if that bucket and all later ones are not
    /// needed.
    fn next<'a>(&mut self, of: &'a mut BucketSums, at_us: i64) -> Option<&'a mut Sum> {
        let start = start_of(at_us, of.width_us);
        if self.current != Some(start) {
            if self.found == of.most {
                of.complete_until = of.complete_until.min(start);
            }
            (self.current, self.found) = (Some(start), self.found + 1);
        }
        (start < of.complete_until).then(|| of.sums.entry(start).or_default())
    }
}

/// The rollups of one series and width in a time range. They are grouped here, because SQLite would sort all
/// of them first.
pub(crate) const ROLLUPS: &str = "SELECT start, present, missing, sum, min, max FROM rollups
     WHERE series_id = ?1 AND width = ?2 AND start >= ?3 AND start < ?4 ORDER BY start";

/// The chunks of a series in a time range that the rollups of a width do not include.
pub(crate) const UNROLLED_CHUNKS: &str = "SELECT body FROM chunks
     WHERE series_id = ?1 AND unrolled_width > 0 AND unrolled_width >= ?2 AND first_us < ?4 AND last_us >= ?3
       AND first_us >= coalesce((SELECT max(first_us) FROM chunks
           WHERE series_id = ?1 AND unrolled_width > 0 AND unrolled_width >= ?2 AND first_us < ?3), ?3)
     ORDER BY first_us, id";

/// All chunks of a series in a time range.
pub(crate) const ALL_CHUNKS: &str = "SELECT body FROM chunks
     WHERE series_id = ?1 AND ?2 = 0 AND first_us < ?4 AND last_us >= ?3
       AND first_us >= coalesce((SELECT max(first_us) FROM chunks WHERE series_id = ?1 AND first_us < ?3), ?3)
     ORDER BY first_us, id";

/// The start of the bucket that contains a time, UTC-aligned also before 1970.
pub(crate) fn start_of(moment: i64, width: i64) -> i64 {
    moment.saturating_sub(moment.rem_euclid(width))
}
