//! Gaps: readings that a module reported as lost.

use std::{collections::BTreeSet, sync::Arc};

use iotpi_core::{
    ModuleId,
    model::gap::{Gap, GapReason, NewGap, SeriesDelivery},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    dedup::Dedup,
    memtable::{Memtable, Series},
    point::Point,
};
use crate::store::sqlite::{
    columns::{channel, channel_text, moment, parsed, word},
    failure::EngineResult,
    modules,
};
use crate::store::{
    ExpiryPlan, GapQuery, Now, Page, PageRequest,
    cursor::{self, List},
};

/// The number of gaps deleted in one transaction: a few milliseconds on an SD card.
const EXPIRE_STEP: usize = 200;
/// The maximum number of gap rows of one module, besides those since the last trim.
const MAX_GAPS: u64 = 10_000;
/// A trim is due when the id of a new row is divisible by this number, because counting rows takes a
/// millisecond.
const TRIM_EVERY: i64 = 256;

/// Stores a gap: a row for each series, and one for readings of unknown series. A repeated report replaces
/// the previous one. Returns whether the module was new.
pub(crate) fn record(db: &Connection, module: &ModuleId, gap: &NewGap, now: Now) -> EngineResult<bool> {
    let new = modules::ensure(db, module, now)?;
    db.prepare_cached("DELETE FROM gaps WHERE module_id = ?1 AND epoch = ?2 AND first_seq = ?3")?
        .execute(params![module.as_str(), gap.epoch, gap.first_seq])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO gaps (module_id, epoch, first_seq, last_seq, sensor, channel, since_us, until_us, lost, reason,
                           recorded_at_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT DO UPDATE SET lost = lost + excluded.lost, since_us = min(since_us, excluded.since_us),
                                   until_us = max(until_us, excluded.until_us)",
    )?;
    let mut keep = |sensor: &str, channel: &str, since: i64, until: i64, lost: u64| {
        insert.execute(params![
            module.as_str(),
            gap.epoch,
            gap.first_seq,
            gap.last_seq,
            sensor,
            channel,
            since,
            until,
            lost,
            gap.reason.as_str(),
            now.wall.as_micros()
        ])
    };
    let mut unnamed = gap.lost();
    for series in &gap.series {
        keep(
            series.kind.as_str(),
            channel_text(series.channel.as_ref()),
            series.since.as_micros(),
            series.until.as_micros(),
            series.lost,
        )?;
        unnamed = unnamed.saturating_sub(series.lost);
    }
    if unnamed > 0 {
        // The time range of unknown series is that of the known ones.
        let since = gap.series.iter().map(|s| s.since).min().unwrap_or(now.wall);
        let until = gap.series.iter().map(|s| s.until).max().unwrap_or(now.wall);
        keep("", "", since.as_micros(), until.as_micros(), unnamed)?;
    }
    Ok(new)
}

/// Whether a trim is due, just after this gap was stored.
pub(crate) fn is_trim_due(db: &Connection, gap: &NewGap) -> bool {
    let rows = i64::try_from(gap.series.len()).unwrap_or(0) + 1;
    let last = db.last_insert_rowid();
    last / TRIM_EVERY != (last - rows) / TRIM_EVERY
}

/// Deletes the oldest gaps of a module above the maximum. Their numbers stay lost.
pub(crate) fn trim(db: &Connection, dedup: &Dedup, module: &ModuleId) -> EngineResult<()> {
    let mut count = db.prepare_cached("SELECT count(*) FROM gaps WHERE module_id = ?1")?;
    let count: u64 = count.query_row([module.as_str()], |row| row.get(0))?;
    let Some(over) = count.checked_sub(MAX_GAPS).filter(|over| *over > 0) else { return Ok(()) };
    let mut old = db.prepare_cached(
        "SELECT DISTINCT epoch FROM
             (SELECT epoch FROM gaps WHERE module_id = ?1 ORDER BY since_us, id LIMIT ?2)",
    )?;
    let old = old.query_map(params![module.as_str(), over], |row| row.get(0))?;
    let epochs = old.collect::<Result<Vec<u64>, _>>()?;
    let delete = "DELETE FROM gaps WHERE id IN
                      (SELECT id FROM gaps WHERE module_id = ?1 ORDER BY since_us, id LIMIT ?2)";
    db.prepare_cached(delete)?.execute(params![module.as_str(), over])?;
    epochs.into_iter().try_for_each(|epoch| dedup.save_lost(db, module, epoch))
}

/// See [`ReadReadings::gaps`](crate::store::ReadReadings::gaps).
pub(crate) fn gaps(db: &Connection, query: &GapQuery, page: &PageRequest) -> EngineResult<Page<Gap>> {
    let list = List::new("gaps", query);
    let (after, after_id) = list.key::<(i64, i64)>(page)?.unwrap_or((i64::MIN, i64::MIN));
    let mut statement = db.prepare_cached(
        "SELECT id, module_id, sensor, channel, since_us, until_us, lost, reason, recorded_at_us FROM gaps
         WHERE (since_us, id) > (?1, ?2) AND (?3 IS NULL OR module_id = ?3)
           AND (?4 IS NULL OR sensor IN (?4, '')) AND (?5 IS NULL OR channel = ?5 OR sensor = '')
           AND until_us >= ?6 AND since_us < ?7
         ORDER BY since_us, id LIMIT ?8",
    )?;
    let wanted = params![
        after,
        after_id,
        query.module_id.as_ref().map(ModuleId::as_str),
        query.sensor.as_ref().map(iotpi_core::SensorType::as_str),
        query.channel.as_ref().map(|only| channel_text(only.channel())),
        query.since.map_or(i64::MIN, iotpi_core::Timestamp::as_micros),
        query.until.map_or(i64::MAX, iotpi_core::Timestamp::as_micros),
        cursor::limit(page) + 1,
    ];
    let rows = statement.query_map(wanted, |row| Ok((row.get::<_, i64>(0)?, gap(row)?)))?;
    let page =
        list.page(rows.collect::<Result<Vec<_>, _>>()?, page, |(id, gap)| (gap.since.as_micros(), *id));
    Ok(page.map(|(_, gap)| gap))
}

/// Gaps of one series of a module, or of unknown series, that expire.
#[derive(Debug, Clone)]
pub(crate) struct Expiring {
    module: ModuleId,
    /// Empty for unknown series.
    sensor: String,
    before_us: i64,
}

/// The gaps that the plan deletes: those of readings that it deletes as well.
pub(crate) fn expiring(db: &Connection, plan: &ExpiryPlan) -> EngineResult<Vec<Expiring>> {
    let mut series = db.prepare_cached("SELECT DISTINCT module_id, sensor FROM gaps")?;
    let mut rows = series.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (module, sensor): (ModuleId, String) = (parsed(row, 0)?, row.get(1)?);
        let named = if sensor.is_empty() { None } else { Some(parsed(row, 1)?) };
        if let Some(before) = plan.gaps_before(&module, named.as_ref()) {
            found.push(Expiring { module, sensor, before_us: before.as_micros() });
        }
    }
    Ok(found)
}

/// Deletes some of them. Their numbers stay lost. Returns whether there were any.
pub(crate) fn expire(db: &Connection, dedup: &Dedup, expiring: &Expiring) -> EngineResult<bool> {
    let Expiring { module, sensor, before_us } = expiring;
    // The readings of a gap were lost before the report arrived, whatever the module's clock shows.
    let mut old = db.prepare_cached(
        "SELECT id, epoch FROM gaps
         WHERE module_id = ?1 AND sensor = ?2 AND min(until_us, recorded_at_us) < ?3 LIMIT ?4",
    )?;
    let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?));
    let old = old.query_map(params![module.as_str(), sensor, before_us, EXPIRE_STEP], row)?;
    let old = old.collect::<Result<Vec<_>, _>>()?;
    let mut delete = db.prepare_cached("DELETE FROM gaps WHERE id = ?1")?;
    for (id, _) in &old {
        delete.execute([id])?;
    }
    let epochs: BTreeSet<_> = old.iter().map(|(_, epoch)| *epoch).collect();
    epochs.into_iter().try_for_each(|epoch| dedup.save_lost(db, module, epoch))?;
    Ok(!old.is_empty())
}

fn gap(row: &Row<'_>) -> rusqlite::Result<Gap> {
    let named = !row.get_ref(2)?.as_str()?.is_empty();
    let reason = word(row, 7, GapReason::ALL, GapReason::as_str)?;
    let gap =
        Gap::new(parsed(row, 1)?, moment(row, 4)?, moment(row, 5)?, row.get(6)?, reason, moment(row, 8)?);
    Ok(if named { gap.with_series(parsed(row, 2)?, channel(row, 3)?) } else { gap })
}

/// The accounts of a module's series, in the order of their keys.
pub(crate) fn by_series(
    db: &Connection,
    memtable: &Memtable,
    module: &ModuleId,
) -> EngineResult<Vec<SeriesDelivery>> {
    let waiting = memtable.snapshot(db, |series| {
        let numbered = |points: &[Point]| points.iter().filter(|point| point.numbered).count() as u64;
        let count = |one: &Series| {
            let (frozen, cut, fresh) = one.uncompacted();
            (one.id, Arc::clone(&one.name), cut, numbered(frozen), numbered(fresh))
        };
        series.after(None, Some(module)).map(count).collect::<Vec<_>>()
    })?;
    let mut series = db.prepare_cached("SELECT compacted_to, received FROM series WHERE id = ?1")?;
    let mut gaps = db.prepare_cached(
        "SELECT coalesce(sum(lost), 0) FROM gaps WHERE module_id = ?1 AND sensor = ?2 AND channel = ?3",
    )?;
    let mut accounts = Vec::with_capacity(waiting.len());
    for (row, name, cut, frozen, fresh) in waiting {
        let found = series.query_row([row], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?)));
        let Some((compacted_to, received)) = found.optional()? else { continue };
        // Records that are being compacted may be in chunks already.
        let received = received + fresh + if compacted_to >= cut { 0 } else { frozen };
        let (kind, channel) = (name.quantity.name(), name.origin.channel.clone());
        let series = params![module.as_str(), kind.as_str(), channel_text(channel.as_ref())];
        let lost: u64 = gaps.query_row(series, |row| row.get(0))?;
        accounts.push(SeriesDelivery::new(kind, channel, received, lost));
    }
    Ok(accounts)
}
