//! Records and their series. How they lie on the disk is this file's and `buckets.rs`' business alone.

use iotpi_core::{ModuleId, Outcome, Quantity, Reading, SensorType, TimeSource, Timestamp, Unit};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::{
    columns::{maybe_moment, moment, parsed},
    failure::Work,
    modules,
};
use crate::store::{
    Now, Page, PageRequest, ReadingQuery, SeriesKey, StoreError,
    cursor::{self, List},
};

/// The order of records: time, then arrival.
type Place = (i64, i64);

/// See [`Store::record`](crate::store::Store::record).
pub(super) fn record(
    db: &Connection,
    readings: &[Reading],
    max_series: u64,
    now: Now,
) -> Work<Vec<ModuleId>> {
    let mut insert = db.prepare_cached(
        "INSERT INTO readings (series_id, taken_at_us, arrival, value, reason, received_at_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut new_modules = Vec::new();
    let arrivals = take_arrivals(db, readings.len())?..;
    for (arrival, (index, reading)) in arrivals.zip(readings.iter().enumerate()) {
        let unit = reading.quantity.unit();
        let series = match find_series(db, &reading.module_id, &reading.quantity.name())? {
            Some((id, kept)) if kept == unit => id,
            Some((_, unit)) => return Err(StoreError::OtherUnit { index, unit }.into()),
            None => {
                if modules::ensure(db, &reading.module_id, now)? {
                    new_modules.push(reading.module_id.clone());
                }
                create_series(db, reading, max_series)?
            }
        };
        // SQLite would turn a number that is none into NULL: say why instead.
        let outcome = match &reading.outcome {
            Outcome::Value(value) => &Outcome::of(*value),
            no_data => no_data,
        };
        let received_at = reading.received_at.unwrap_or(now.wall);
        insert.execute(params![
            series,
            reading.taken_at.as_micros(),
            arrival,
            outcome.value(),
            outcome.reason(),
            received_at.as_micros()
        ])?;
    }
    Ok(new_modules)
}

/// Reserves arrival numbers and answers the first.
fn take_arrivals(db: &Connection, many: usize) -> Work<i64> {
    let sql = "UPDATE arrivals SET last = last + ?1 RETURNING last - ?1 + 1";
    Ok(db.prepare_cached(sql)?.query_row([many], |row| row.get(0))?)
}

fn find_series(db: &Connection, module: &ModuleId, sensor: &SensorType) -> Work<Option<(i64, Unit)>> {
    let sql = "SELECT id, unit FROM series WHERE module_id = ?1 AND sensor = ?2";
    let found = |row: &Row<'_>| Ok((row.get(0)?, parsed(row, 1)?));
    Ok(db.prepare_cached(sql)?.query_row([module.as_str(), sensor.as_str()], found).optional()?)
}

fn create_series(db: &Connection, reading: &Reading, max_series: u64) -> Work<i64> {
    let kept: u64 = db.prepare_cached("SELECT count(*) FROM series")?.query_row([], |row| row.get(0))?;
    if kept >= max_series {
        return Err(StoreError::LimitReached { what: "series", limit: max_series }.into());
    }
    let (sensor, unit) = (reading.quantity.name(), reading.quantity.unit());
    let row = [reading.module_id.as_str(), sensor.as_str(), unit.as_str()];
    Ok(db.prepare_cached("INSERT INTO series (module_id, sensor, unit) VALUES (?1, ?2, ?3)")?.insert(row)?)
}

/// See [`Store::series_units`](crate::store::Store::series_units).
pub(super) fn units(db: &Connection) -> Work<Vec<(SeriesKey, Unit)>> {
    let mut statement = db.prepare_cached("SELECT module_id, sensor, unit FROM series")?;
    let rows = statement.query_map([], |row| {
        Ok((SeriesKey { module_id: parsed(row, 0)?, sensor: parsed(row, 1)? }, parsed(row, 2)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One series of a query.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) id: i64,
    pub(super) module_id: ModuleId,
    pub(super) unit: Unit,
}

/// The series a query is about, by module id.
pub(super) fn series_of(db: &Connection, query: &ReadingQuery) -> Work<Vec<Series>> {
    let mut statement = db.prepare_cached(
        "SELECT id, module_id, unit FROM series WHERE sensor = ?1 AND (?2 IS NULL OR module_id = ?2)
         ORDER BY module_id",
    )?;
    let module = query.module_id.as_ref().map(ModuleId::as_str);
    let rows = statement.query_map(params![query.sensor.as_str(), module], |row| {
        Ok(Series { id: row.get(0)?, module_id: parsed(row, 1)?, unit: parsed(row, 2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// See [`Store::readings`](crate::store::Store::readings).
///
/// One short walk a series, the results merged: a single statement over several series would sort everything they have.
/// Once the page is full, its worst place ends the walks of the remaining series early.
pub(super) fn readings(db: &Connection, query: &ReadingQuery, page: &PageRequest) -> Work<Page<Reading>> {
    let list = List::new("readings", query);
    let most = cursor::limit(page) + 1;
    // Places strictly between these two.
    let mut from = (query.since.map_or(i64::MIN, Timestamp::as_micros), i64::MIN);
    let mut until = (query.until.map_or(i64::MAX, Timestamp::as_micros), i64::MIN);
    match list.key::<Place>(page)? {
        Some(after) if query.ascending => from = after,
        Some(after) => until = after,
        None => {}
    }
    let mut walk = Walk::prepare(db, query.ascending)?;
    let mut found: Vec<(Place, Reading)> = Vec::new();
    for series in series_of(db, query)? {
        walk.collect(&series, &query.sensor, (from, until), most, &mut found)?;
        if query.ascending {
            found.sort_unstable_by_key(|(place, _)| *place);
        } else {
            found.sort_unstable_by_key(|(place, _)| std::cmp::Reverse(*place));
        }
        found.truncate(most);
        if let (true, Some((worst, _))) = (found.len() == most, found.last()) {
            *(if query.ascending { &mut until } else { &mut from }) = *worst;
        }
    }
    Ok(list.page(found, page, |(place, _)| *place).map(|(_, reading)| reading))
}

/// Walks along one series.
pub(super) struct Walk<'db>(CachedStatement<'db>);

impl<'db> Walk<'db> {
    fn prepare(db: &'db Connection, ascending: bool) -> Work<Self> {
        Ok(Self(db.prepare_cached(&Self::sql(ascending))?))
    }

    pub(super) fn sql(ascending: bool) -> String {
        let order = if ascending { "taken_at_us, arrival" } else { "taken_at_us DESC, arrival DESC" };
        format!(
            "SELECT taken_at_us, arrival, value, reason, received_at_us FROM readings
             WHERE series_id = ?1 AND (taken_at_us, arrival) > (?2, ?3) AND (taken_at_us, arrival) < (?4, ?5)
             ORDER BY {order} LIMIT ?6"
        )
    }

    fn collect(
        &mut self,
        series: &Series,
        sensor: &SensorType,
        (from, until): (Place, Place),
        most: usize,
        found: &mut Vec<(Place, Reading)>,
    ) -> Work<()> {
        let quantity = Quantity::new(sensor.clone(), series.unit.clone());
        let stretch = params![series.id, from.0, from.1, until.0, until.1, most];
        let rows = self.0.query_map(stretch, |row| {
            let reading = Reading {
                module_id: series.module_id.clone(),
                quantity: quantity.clone(),
                outcome: outcome(row, 2)?,
                taken_at: moment(row, 0)?,
                received_at: maybe_moment(row, 4)?,
                time_source: TimeSource::Module,
                number: None,
            };
            Ok(((row.get(0)?, row.get(1)?), reading))
        })?;
        for row in rows {
            found.push(row?);
        }
        Ok(())
    }
}

/// The last record of each series: one look at the end of each.
pub(super) const NEWEST: &str =
    "SELECT s.module_id, s.sensor, s.unit, r.taken_at_us, r.value, r.reason, r.received_at_us
     FROM series AS s JOIN readings AS r
       ON r.series_id = s.id
      AND (r.taken_at_us, r.arrival) = (SELECT taken_at_us, arrival FROM readings WHERE series_id = s.id
                                        ORDER BY taken_at_us DESC, arrival DESC LIMIT 1)
     WHERE (s.module_id, s.sensor) > (?1, ?2) AND (?3 IS NULL OR s.module_id = ?3)
     ORDER BY s.module_id, s.sensor LIMIT ?4";

/// See [`Store::newest`](crate::store::Store::newest).
pub(super) fn newest(db: &Connection, module: Option<&ModuleId>, page: &PageRequest) -> Work<Page<Reading>> {
    let list = List::new("newest", &module);
    let (after_module, after_sensor) = list.key::<(String, String)>(page)?.unwrap_or_default();
    let mut statement = db.prepare_cached(NEWEST)?;
    let query = params![after_module, after_sensor, module.map(ModuleId::as_str), cursor::limit(page) + 1];
    let rows = statement.query_map(query, |row| {
        Ok(Reading {
            module_id: parsed(row, 0)?,
            quantity: Quantity::new(parsed(row, 1)?, parsed(row, 2)?),
            outcome: outcome(row, 4)?,
            taken_at: moment(row, 3)?,
            received_at: maybe_moment(row, 6)?,
            time_source: TimeSource::Module,
            number: None,
        })
    })?;
    let key = |reading: &Reading| (reading.module_id.to_string(), reading.quantity.name().to_string());
    Ok(list.page(rows.collect::<Result<_, _>>()?, page, key))
}

/// See [`Store::recent`](crate::store::Store::recent).
pub(super) fn recent(db: &Connection, series: &SeriesKey, count: u32) -> Work<Vec<Reading>> {
    let Some((id, unit)) = find_series(db, &series.module_id, &series.sensor)? else { return Ok(Vec::new()) };
    let everything = ((i64::MIN, i64::MIN), (i64::MAX, i64::MAX));
    let walked = Series { id, module_id: series.module_id.clone(), unit };
    let mut found = Vec::new();
    Walk::prepare(db, false)?.collect(&walked, &series.sensor, everything, count as usize, &mut found)?;
    Ok(found.into_iter().rev().map(|(_, reading)| reading).collect())
}

/// How a measurement ended: the value's column, the reason's beside it.
fn outcome(row: &Row<'_>, value: usize) -> rusqlite::Result<Outcome> {
    match row.get(value)? {
        Some(value) => Ok(Outcome::Value(value)),
        None => row.get(value + 1).map(Outcome::NoData),
    }
}
