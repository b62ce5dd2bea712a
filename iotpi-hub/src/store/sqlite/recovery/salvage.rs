//! Saves the readable data of a damaged database into a new one.
//!
//! Each table is read around the pages that cannot be read. Readings are accepted only if the checksum of
//! their chunk or WAL record is right. Users, tokens, modules and other rows have no checksums: a row is
//! accepted if it can be read and the new table accepts it.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, backup::Backup, params, types::Value};

use super::{
    leaf_pages::Pages,
    table_scan::{Keep, Read, Table, unless_interrupted},
    verify,
    wal_salvage::{self, Records, SalvagedWal},
};
use crate::store::sqlite::{
    failure::{EngineError, EngineResult, engine_error},
    file::{self, Location},
    files::with_suffix,
    series::{
        chunk, compaction,
        point::Point,
        range_set::RangeSet,
        removed::REMOVED,
        rollup_blocks, rollups,
        sum::{WIDTHS, unit_of},
    },
    throttle::Throttle,
};
use crate::store::{BoxError, Result, Salvaged, StoreError};

/// Tables that are not copied row by row.
const NOT_COPIED: [&str; 3] = ["wal", "wal_state", "chunks"];

/// See [`salvage`](crate::store::salvage).
pub(crate) fn salvage(damaged: &Path, into: &Path, throttle: &Throttle) -> Result<Salvaged> {
    let source = verify::open(damaged, throttle)?;
    if file::version(&source)? != file::SCHEMA_VERSION {
        return Err(StoreError::Conflict(
            "only a database of this schema version can be salvaged".to_owned(),
        ));
    }
    let new = Location::File(into.to_owned()).open_writer()?;
    let saved = save(&source, &new, into).map_err(|fail| fail.into_store_error("save what can be read"))?;
    // A single file without a WAL, as a backup is.
    let one_file = new.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()));
    one_file.map_err(engine_error("save what can be read"))?;
    new.close().map_err(|(_, error)| engine_error("save what can be read")(error))?;
    Ok(saved)
}

fn save(source: &Connection, new: &Connection, into: &Path) -> EngineResult<Salvaged> {
    new.pragma_update(None, "foreign_keys", false)?;
    let mut saved = Salvaged::default();
    for name in names(new)?.into_iter().filter(|name| !NOT_COPIED.contains(&name.as_str())) {
        let table = Table::of(new, &name)?;
        let transaction = new.unchecked_transaction()?;
        let is_sound = |row: &[Value]| match table.value(row, "body") {
            Some(Value::Blob(body)) if name == "rollup_blocks" && rollup_blocks::decode(body).is_err() => {
                Keep::Damaged
            }
            _ => Keep::Yes,
        };
        let mut read = table.copy(source, new, is_sound)?;
        if name == "series" && read.is_damaged {
            read.rows += save_series(source, new)?;
        }
        transaction.commit()?;
        count_table(&mut saved, &name, read);
    }
    let transaction = new.unchecked_transaction()?;
    let compacted_to = reset_wal(new)?;
    let mut records = Records::new();
    save_chunks(source, new, &compacted_to, &mut saved)?;
    if !saved.damaged.is_empty() {
        records = save_leaf_pages(source, new, into, &compacted_to, &mut saved)?;
    }
    let wal = wal_salvage::read(source, &compacted_to, records)?;
    save_wal(new, wal, &mut saved)?;
    if saved.damaged.iter().any(|table| table == "rollups") {
        rebuild_rollups(new)?;
    }
    repair_references(new)?;
    transaction.commit().map_err(EngineError::from)?;
    Ok(saved)
}

fn names(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    db.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Saves series whose rows cannot be read, from the index, which has a copy of the needed columns.
fn save_series(source: &Connection, new: &Connection) -> EngineResult<u64> {
    let from = source.query_row("SELECT compacted_to FROM wal_state", [], |row| row.get::<_, u64>(0));
    let from = unless_interrupted(from)?.unwrap_or(0);
    let sql = "SELECT id, module_id, sensor, channel, unit FROM series INDEXED BY series_by_name";
    let mut insert = new.prepare(
        "INSERT OR IGNORE INTO series (id, module_id, sensor, channel, unit, compacted_to)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut saved = 0;
    let mut all = || -> rusqlite::Result<()> {
        let mut rows = source.prepare(sql)?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (id, unit): (i64, String) = (row.get(0)?, row.get(4)?);
            let (module, sensor): (String, String) = (row.get(1)?, row.get(2)?);
            let channel: String = row.get(3)?;
            saved += insert.execute(params![id, module, sensor, channel, unit, from]).unwrap_or(0) as u64;
        }
        Ok(())
    };
    unless_interrupted(all())?;
    Ok(saved)
}

fn count_table(saved: &mut Salvaged, table: &str, read: Read) {
    match table {
        "series" => saved.series = read.rows,
        "modules" => saved.modules = read.rows,
        "users" => saved.users = read.rows,
        "tokens" => saved.tokens = read.rows,
        "commands" => saved.commands = read.rows,
        _ => {}
    }
    if read.is_damaged {
        saved.damaged.push(table.to_owned());
    }
}

/// Resets the WAL. Returns, for each series, the WAL id up to which it was compacted in the old database.
/// Removed modules are not saved.
fn reset_wal(new: &Connection) -> EngineResult<HashMap<i64, u64>> {
    new.execute("DELETE FROM series WHERE module_id = ?1", [REMOVED])?;
    new.execute("DELETE FROM modules WHERE id = ?1", [REMOVED])?;
    let mut series = new.prepare("SELECT id, compacted_to FROM series")?;
    let compacted_to = series.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let compacted_to = compacted_to.collect::<rusqlite::Result<_>>()?;
    new.execute("UPDATE series SET compacted_to = 0", [])?;
    // Rollups of series that were not saved.
    new.execute("DELETE FROM rollups WHERE series_id NOT IN (SELECT id FROM series)", [])?;
    new.execute("DELETE FROM rollup_blocks WHERE series_id NOT IN (SELECT id FROM series)", [])?;
    Ok(compacted_to)
}

fn save_chunks(
    source: &Connection,
    new: &Connection,
    series: &HashMap<i64, u64>,
    saved: &mut Salvaged,
) -> EngineResult<()> {
    let table = Table::of(new, "chunks")?;
    let (mut kept, mut left) = (0, 0);
    let is_sound = |row: &[Value]| match sound_chunk(&table, row) {
        Some((of, count)) if series.contains_key(&of) => {
            kept += count;
            Keep::Yes
        }
        // It belongs to a removed module, or to a series that is lost.
        Some((_, count)) => {
            left += count;
            Keep::No
        }
        None => Keep::Damaged,
    };
    let read = table.copy(source, new, is_sound)?;
    saved.readings += kept;
    // The index also has the chunks that cannot be read.
    let sql = "SELECT coalesce(sum(count), 0) FROM chunks INDEXED BY chunks_by_time";
    let all = unless_interrupted(source.query_row(sql, [], |row| row.get::<_, u64>(0)))?;
    let removed = "SELECT coalesce(sum(count), 0) FROM chunks INDEXED BY chunks_by_time
                   WHERE series_id IN (SELECT id FROM series WHERE module_id = ?1)";
    let removed = unless_interrupted(source.query_row(removed, [REMOVED], |row| row.get::<_, u64>(0)))?;
    let counted = all.map(|all| all.saturating_sub(kept + removed.unwrap_or(0).min(left)));
    saved.readings_lost += counted.unwrap_or(left);
    count_table(saved, "chunks", Read { is_damaged: read.is_damaged || saved.readings_lost > 0, ..read });
    Ok(())
}

/// Chunks and WAL records on pages that only damaged pages refer to.
fn save_leaf_pages(
    source: &Connection,
    new: &Connection,
    into: &Path,
    series: &HashMap<i64, u64>,
    saved: &mut Salvaged,
) -> EngineResult<Records> {
    let mut records = Records::new();
    let image = Image(with_suffix(into, ".image"));
    // In a copy, the content of SQLite's WAL is in its place. Without space for a copy, this step is skipped.
    let Ok(pages) = image.of(source) else { return Ok(records) };
    let table = Table::of(new, "chunks")?;
    let mut found = 0;
    let mut take = |number: i64, values: Vec<Value>| {
        records.extend(wal_salvage::record(number, &values));
        let row = table.row(number, values);
        if let Some((row, (of, count))) =
            row.and_then(|row| sound_chunk(&table, &row).map(|chunk| (row, chunk)))
            && series.contains_key(&of)
            && table.insert(new, row)
        {
            found += count;
        }
    };
    if pages.rows(&mut take).is_err() {
        tracing::warn!("not all pages of the damaged database could be read");
    }
    saved.readings += found;
    saved.readings_lost = saved.readings_lost.saturating_sub(found);
    Ok(records)
}

/// A copy of all pages, damaged or not. Removed when dropped.
struct Image(PathBuf);

impl Image {
    fn of(&self, source: &Connection) -> std::result::Result<Pages, BoxError> {
        let _ = fs::remove_file(&self.0);
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.0)?;
        let mut copy = Connection::open(&self.0)?;
        copy.pragma_update_and_check(None, "journal_mode", "off", |_| Ok(()))?;
        copy.pragma_update(None, "synchronous", "off")?;
        Backup::new(source, &mut copy)?.run_to_completion(1 << 16, Duration::ZERO, None)?;
        copy.close().map_err(|(_, error)| error)?;
        Ok(Pages::open(fs::File::open(&self.0)?)?)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The series of a chunk and the number of its readings, if the chunk is intact.
fn sound_chunk(table: &Table, row: &[Value]) -> Option<(i64, u64)> {
    let number = |column: &str| match table.value(row, column) {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    };
    let Some(Value::Blob(body)) = table.value(row, "body") else { return None };
    let points = chunk::decode(body).ok()?;
    let (first, last) = (points.first()?.taken_us, points.last()?.taken_us);
    let fits = number("first_us")? == first
        && number("last_us")? == last
        && usize::try_from(number("count")?).ok()? == points.len();
    fits.then_some((number("series_id")?, points.len() as u64))
}

/// Moves the readings of the WAL into chunks, and adds its sequence numbers to their epochs.
fn save_wal(new: &Connection, wal: SalvagedWal, saved: &mut Salvaged) -> EngineResult<()> {
    if wal.is_damaged {
        saved.damaged.push("wal".to_owned());
    }
    for (series, mut points) in wal.points {
        points.sort_by_key(|point: &Point| point.taken_us);
        let numbered = points.iter().filter(|point| point.numbered).count();
        new.execute("UPDATE series SET received = received + ?2 WHERE id = ?1", params![series, numbered])?;
        compaction::insert_points(new, series, &points)?;
        saved.readings += points.len() as u64;
    }
    for (epoch, numbers) in wal.arrived {
        let arrived = new.query_row("SELECT arrived FROM epochs WHERE id = ?1", [epoch], |row| row.get(0));
        let Some(arrived) = unless_interrupted::<Vec<u8>>(arrived)? else { continue };
        let mut arrived = RangeSet::from_bytes(&arrived).unwrap_or_default();
        arrived.extend(&numbers);
        new.execute("UPDATE epochs SET arrived = ?2 WHERE id = ?1", params![epoch, arrived.to_bytes()])?;
    }
    Ok(())
}

/// Computes the rollups of the saved records again. Rollups of expired records stay as they were read.
fn rebuild_rollups(new: &Connection) -> EngineResult<()> {
    let mut series = new.prepare("SELECT series_id, min(first_us) FROM chunks GROUP BY series_id")?;
    let series = series.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (row, first_us) in series.collect::<rusqlite::Result<Vec<(i64, i64)>>>()? {
        for width in WIDTHS {
            let sql = "DELETE FROM rollups WHERE series_id = ?1 AND width = ?2 AND start >= ?3";
            new.execute(sql, params![row, width, unit_of(first_us, width)])?;
        }
        let mut chunks =
            new.prepare_cached("SELECT body, unrolled_width FROM chunks WHERE series_id = ?1")?;
        let mut chunks = chunks.query([row])?;
        while let Some(chunk) = chunks.next()? {
            let points = chunk::decode_points(chunk.get_ref(0)?.as_blob()?)?;
            let unrolled_width: i64 = chunk.get(1)?;
            rollups::add(new, row, &points, |width| width > unrolled_width)?;
        }
    }
    Ok(())
}

/// Creates the modules that rows refer to and that are missing; deletes rows that refer to any other missing
/// row.
fn repair_references(new: &Connection) -> EngineResult<()> {
    for table in ["series", "commands", "epochs", "retired_epochs", "gaps", "segments", "recording_settings"]
    {
        let sql = format!(
            "INSERT OR IGNORE INTO modules (id, registered_at_us) SELECT DISTINCT module_id, 0 FROM {table}"
        );
        new.execute(&sql, [])?;
    }
    new.execute("DELETE FROM sessions WHERE user NOT IN (SELECT name FROM users)", [])?;
    new.execute("DELETE FROM frame_index WHERE segment_id NOT IN (SELECT id FROM segments)", [])?;
    Ok(())
}
