//! The order of eviction when disk space is needed: the data of the writer that grew most is first.
//!
//! Growth is the stored size in bytes, each chunk weighted by the *arrival* of its newest record: half after
//! [`HALF_LIFE_US`]. The module's own timestamps are ignored. Size alone would let a new module displace one
//! that has recorded for years; a window with a sharp end would forgive a flood on the day it ends.
//!
//! A module with its own token is one writer. All modules without one are one writer together, because a
//! caller without a token may deliver as any of them. A writer is over its share if its growth is more than
//! [`MARGIN`] times an equal share, and more than the spared bytes: its records are evicted, whatever their
//! age, before those of any other. Within a writer, the module and then the series that grew most is first.

use std::collections::{HashMap, VecDeque};

use iotpi_core::Timestamp;
use rusqlite::{Connection, params};

use super::{expiry::Removal, removed::REMOVED, sum::WIDTHS};
use crate::store::Eviction;
use crate::store::sqlite::failure::EngineResult;

/// The time in microseconds after which a byte counts half: 30 days.
const HALF_LIFE_US: f64 = 30.0 * 86_400e6;
/// Writers with equal deliveries differ slightly, and none of them may lose records younger than
/// `storage.thin_keep_days`.
const MARGIN: f64 = 1.1;
/// The bytes of a record in a chunk whose size is not stored.
const BYTES_A_RECORD: f64 = 4.0;

/// A series and its part of its writer's growth.
#[derive(Debug)]
struct Series {
    id: i64,
    writer: usize,
    module: usize,
    growth: f64,
    chunks: usize,
    records: u64,
    /// The oldest chunks, read when one is to be evicted.
    oldest: Option<VecDeque<Chunk>>,
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    first_us: i64,
    received_us: i64,
    growth: f64,
}

/// All series with a chunk, by module and writer.
#[derive(Debug, Default)]
struct Growth {
    series: Vec<Series>,
    writers: usize,
}

/// The next evictions from writers over their share; none if no writer is. Of chunks that arrived before
/// `eviction.before` the rollups of minutes and hours are kept, as when they expire; of others only those of
/// days.
///
/// # Errors
/// SQLite's.
pub(crate) fn cuts(db: &Connection, eviction: Eviction, now: Timestamp) -> EngineResult<Vec<Removal>> {
    let Eviction { before, spared_bytes, most } = eviction;
    let mut growth = Growth::measure(db, now)?;
    let mut cuts = Vec::new();
    for _ in 0..most {
        let Some(at) = growth.first(spared_bytes) else { break };
        growth.cut(db, at, most as usize, (before, now), &mut cuts)?;
    }
    Ok(cuts)
}

impl Growth {
    fn measure(db: &Connection, now: Timestamp) -> EngineResult<Self> {
        let mut found = Self::default();
        // Module ids have no dot: `.` is the writer of all modules without a token.
        let (mut writers, mut modules) = (HashMap::<String, usize>::new(), HashMap::<String, usize>::new());
        let sql =
            "SELECT id, module_id, EXISTS (SELECT 1 FROM tokens WHERE tokens.module_id = series.module_id)
                   FROM series WHERE module_id <> ?1";
        let mut all = db.prepare_cached(sql)?;
        let mut rows = all.query([REMOVED])?;
        let mut at = HashMap::new();
        while let Some(row) = rows.next()? {
            let (id, module, has_token): (i64, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let next = writers.len();
            let writer = if has_token { module.clone() } else { ".".to_owned() };
            let writer = *writers.entry(writer).or_insert(next);
            let next = modules.len();
            let module = *modules.entry(module).or_insert(next);
            at.insert(id, found.series.len());
            found.series.push(Series {
                id,
                writer,
                module,
                growth: 0.0,
                chunks: 0,
                records: 0,
                oldest: None,
            });
        }
        found.writers = writers.len();
        let sql = "SELECT series_id, received_us, bytes, count FROM chunks INDEXED BY chunks_by_arrival";
        let mut chunks = db.prepare_cached(sql)?;
        let mut rows = chunks.query([])?;
        while let Some(row) = rows.next()? {
            let Some(series) = at.get(&row.get(0)?).and_then(|at| found.series.get_mut(*at)) else {
                continue;
            };
            series.growth += counted(row.get(1)?, row.get(2)?, row.get(3)?, now);
            series.chunks += 1;
            series.records += row.get::<_, u64>(3)?;
        }
        Ok(found)
    }

    /// The index of the series to evict from next; `None` if no writer over its share has evictable records
    /// left.
    fn first(&self, spared_bytes: u64) -> Option<usize> {
        let mut writers = vec![(0.0, false); self.writers];
        for series in &self.series {
            writers[series.writer].0 += series.growth;
            writers[series.writer].1 |= series.can_give();
        }
        #[allow(clippy::cast_precision_loss, reason = "a few thousand writers, and bytes of a disk")]
        let (count, spared) = (self.writers.max(1) as f64, spared_bytes as f64);
        let share = writers.iter().map(|(growth, _)| growth).sum::<f64>() / count;
        let least = spared.max(share * MARGIN);
        let over = |(_, (growth, can_give)): &(usize, (f64, bool))| *can_give && *growth > least;
        let writer = greatest(writers.into_iter().enumerate().filter(over), |(_, (growth, _))| *growth)?.0;

        let of_writer = |series: &&Series| series.writer == writer;
        let mut modules: HashMap<usize, (f64, bool)> = HashMap::new();
        for series in self.series.iter().filter(of_writer) {
            let (growth, can_give) = modules.entry(series.module).or_default();
            *growth += series.growth;
            *can_give |= series.can_give();
        }
        let module =
            greatest(modules.into_iter().filter(|(_, (_, can))| *can), |(_, (growth, _))| *growth)?.0;

        let of_module = self.series.iter().enumerate().filter(|(_, series)| series.module == module);
        let whole = of_module.clone().filter(|(_, series)| series.chunks > 1);
        let whole = greatest(whole, |(_, series)| series.growth);
        let last =
            || greatest(of_module.filter(|(_, series)| series.can_give()), |(_, series)| series.growth);
        whole.or_else(last).map(|(at, _)| at)
    }

    /// Adds the next eviction of a series, and counts it as done.
    fn cut(
        &mut self,
        db: &Connection,
        at: usize,
        most: usize,
        (before, now): (Timestamp, Timestamp),
        cuts: &mut Vec<Removal>,
    ) -> EngineResult<()> {
        let series = &mut self.series[at];
        let id = series.id;
        if series.chunks <= 1 {
            (series.growth, series.records) = (0.0, 1);
            cuts.push(Removal::AllButNewest { series: id });
            return Ok(());
        }
        if series.oldest.is_none() {
            series.oldest = Some(oldest(db, id, most, now)?);
        }
        let oldest = series.oldest.get_or_insert_default();
        let (Some(chunk), Some(next)) = (oldest.pop_front(), oldest.front()) else {
            series.chunks = 0;
            series.records = 0;
            return Ok(());
        };
        series.chunks -= 1;
        series.growth = (series.growth - chunk.growth).max(0.0);
        let arrived_lately = chunk.received_us >= before.as_micros();
        let mut rollups_before_us = [i64::MIN; WIDTHS.len()];
        if arrived_lately {
            // Rollups of days stay.
            rollups_before_us[1..].fill(i64::MAX);
        }
        let next_us = next.first_us;
        // The chunk may end in the microsecond in which the next one begins.
        cuts.push(Removal::Chunks { series: id, before_us: next_us.saturating_add(1), rollups_before_us });
        if arrived_lately {
            cuts.push(Removal::ShortSums { series: id, from_us: chunk.first_us, before_us: next_us });
        }
        Ok(())
    }
}

impl Series {
    fn can_give(&self) -> bool {
        self.chunks > 1 || self.records > 1
    }
}

/// The oldest chunks of a series: `most`, and the next one.
fn oldest(db: &Connection, series: i64, most: usize, now: Timestamp) -> EngineResult<VecDeque<Chunk>> {
    let sql = "SELECT first_us, received_us, bytes, count FROM chunks
               WHERE series_id = ?1 ORDER BY first_us, id LIMIT ?2";
    let mut chunks = db.prepare_cached(sql)?;
    let chunk = |row: &rusqlite::Row<'_>| {
        let received_us = row.get(1)?;
        let growth = counted(received_us, row.get(2)?, row.get(3)?, now);
        Ok(Chunk { first_us: row.get(0)?, received_us, growth })
    };
    Ok(chunks.query_map(params![series, most + 1], chunk)?.collect::<Result<_, _>>()?)
}

/// The weighted bytes of a chunk.
fn counted(received_us: i64, bytes: i64, records: i64, now: Timestamp) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a share needs no more than 15 digits")]
    let (bytes, records) = (bytes as f64, records as f64);
    let bytes = if bytes > 0.0 { bytes } else { records * BYTES_A_RECORD };
    let age = now.since(Timestamp::from_micros(received_us));
    #[allow(clippy::cast_precision_loss, reason = "an age in microseconds")]
    let halvings = age.as_micros() as f64 / HALF_LIFE_US;
    // Never zero: where nothing grew for years, size decides.
    bytes * (-halvings).exp2().max(1e-6)
}

fn greatest<T>(of: impl Iterator<Item = T>, by: impl Fn(&T) -> f64) -> Option<T> {
    of.max_by(|one, other| by(one).total_cmp(&by(other)))
}
