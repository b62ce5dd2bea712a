//! Verification of a database: its content, and whether it is intact.

use std::{fs, io::Read as _, path::Path, time::Instant};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use crate::store::sqlite::{
    columns::moment,
    failure::{self, Failure, engine_error},
    file::{self, APPLICATION_ID},
    files::with_suffix,
    series::{chunk, ingest::Ingest, memtable::AllSeries, rollup_blocks},
    throttle::Throttle,
};
use crate::store::{Result, StoreError, Verification};

/// The SQLite instructions between two checks of the throttle: about a millisecond of work.
const OPERATIONS: i32 = 20_000;
/// The maximum number of reported faults.
const FAULTS: usize = 20;

/// Opens a database for reading. Neither it nor its WAL is changed: a read-only connection checkpoints
/// nothing, not even when it is the last one to close.
pub(crate) fn open(path: &Path, throttle: &Throttle) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(engine_error("open the database"))?;
    file::configure(&connection).map_err(engine_error("set up the database"))?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(engine_error("set up the database"))?;
    let (throttle, mut began) = (throttle.clone(), Instant::now());
    let interrupt = move || {
        let over = !throttle.pause(began);
        began = Instant::now();
        over
    };
    connection.progress_handler(OPERATIONS, Some(interrupt)).map_err(engine_error("set up the database"))?;
    Ok(connection)
}

/// See [`MaintainStore::verify`](crate::store::MaintainStore::verify).
pub(crate) fn verify(path: &Path, deep: bool, throttle: &Throttle) -> Result<Verification> {
    look_through(&open(path, throttle)?, deep)
}

/// Verifies through an open connection.
pub(crate) fn look_through(db: &Connection, deep: bool) -> Result<Verification> {
    let mut found = Verification { deep, version: 0, rows: Vec::new(), faults: Vec::new() };
    match look(db, &mut found) {
        Ok(()) => Ok(found),
        Err(StoreError::Damaged { context, source }) => {
            found.faults.push(format!("{context}: {source}"));
            Ok(found)
        }
        Err(error) => Err(error),
    }
}

fn look(db: &Connection, found: &mut Verification) -> Result<()> {
    found.version = file::version(db)?;
    found.faults = faults(db, found.deep)?;
    if found.deep && found.version == file::SCHEMA_VERSION {
        found
            .faults
            .extend(damaged_bodies(db, "records", CHUNK_BODIES, |body| chunk::decode(body).is_err())?);
        found
            .faults
            .extend(damaged_bodies(db, "sums", BLOCK_BODIES, |body| rollup_blocks::decode(body).is_err())?);
        let ingest = Ingest::load(db, None).map_err(|fail| fail.into_store_error("read the WAL"));
        if let Err(error) = ingest {
            found.faults.push(describe(&error));
        }
    }
    found.rows = rows(db)?;
    Ok(())
}

/// The faults that SQLite finds in its pages and, if `deep`, in its indexes.
fn faults(db: &Connection, deep: bool) -> Result<Vec<String>> {
    let pragma = if deep { "integrity_check" } else { "quick_check" };
    let mut faults = Vec::new();
    db.pragma(None, pragma, FAULTS, |row| {
        faults.push(row.get::<_, String>(0)?);
        Ok(())
    })
    .map_err(engine_error("check the database"))?;
    faults.retain(|fault| fault != "ok");
    Ok(faults)
}

const CHUNK_BODIES: &str = "SELECT body, module_id, sensor, channel, first_us, last_us FROM chunks JOIN series ON series.id = series_id";
const BLOCK_BODIES: &str = "SELECT body, module_id, sensor, channel, first_us, last_us FROM rollup_blocks JOIN series ON series.id = series_id";

/// The bodies whose checksum is wrong.
fn damaged_bodies(
    db: &Connection,
    what: &str,
    sql: &str,
    is_damaged: impl Fn(&[u8]) -> bool,
) -> Result<Vec<String>> {
    let look = || -> rusqlite::Result<_> {
        let mut faults = Vec::new();
        let mut bodies = db.prepare(sql)?;
        let mut rows = bodies.query([])?;
        while let Some(row) = rows.next()? {
            if is_damaged(row.get_ref(0)?.as_blob()?) && faults.len() < FAULTS {
                let (module, sensor): (String, String) = (row.get(1)?, row.get(2)?);
                let channel: String = row.get(3)?;
                let slash = if channel.is_empty() { "" } else { "/" };
                let (first, last) = (moment(row, 4)?, moment(row, 5)?);
                faults.push(format!(
                    "{what} of {module}/{sensor}{slash}{channel} from {first} to {last} are damaged"
                ));
            }
        }
        Ok(faults)
    };
    look().map_err(engine_error("read the records"))
}

/// The number of readings of a database, in chunks and in the WAL.
pub(crate) fn readings(path: &Path, throttle: &Throttle) -> Result<u64> {
    let db = open(path, throttle)?;
    let sql = "SELECT coalesce(sum(count), 0) FROM chunks";
    let compacted: u64 =
        db.query_row(sql, [], |row| row.get(0)).map_err(engine_error("count the readings"))?;
    let ingest = Ingest::load(&db, None).map_err(|fail| fail.into_store_error("count the readings"))?;
    Ok(compacted + ingest.memtable().read(AllSeries::records) as u64)
}

fn describe(error: &StoreError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {cause}")
}

/// The number of rows of each table, by name.
pub(crate) fn rows(db: &Connection) -> Result<Vec<(String, u64)>> {
    let count = || -> rusqlite::Result<_> {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
        let names = db.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let rows = |name: String| {
            let quoted = name.replace('"', "\"\"");
            let many = db.query_row(&format!("SELECT count(*) FROM \"{quoted}\""), [], |row| row.get(0))?;
            Ok((name, many))
        };
        names.into_iter().map(rows).collect()
    };
    count().map_err(engine_error("count the rows"))
}

/// See [`examine`](crate::store::examine).
pub(crate) fn examine(path: &Path, thorough: bool, throttle: &Throttle) -> Result<Option<String>> {
    let unread =
        |error: std::io::Error| StoreError::Engine { context: "read the database", source: error.into() };
    let length = |path: &Path| match fs::metadata(path) {
        Ok(there) => Ok(Some(there.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unread(error)),
    };
    let waiting = length(&with_suffix(path, "-wal"))?.unwrap_or(0) > 0;
    match length(path)? {
        // SQLite would delete such a WAL, or apply it to any database that is put there.
        None if waiting => return Ok(Some("the database file is gone, its WAL is there".to_owned())),
        Some(0) if waiting => return Ok(Some("the database file is empty, its WAL is not".to_owned())),
        None | Some(0) => return Ok(None),
        Some(_) => {}
    }
    let mut head = Vec::new();
    fs::File::open(path).and_then(|file| file.take(100).read_to_end(&mut head)).map_err(unread)?;
    if !head.starts_with(b"SQLite format 3\0") || head.len() < 100 {
        return Ok(Some("the file does not begin as a database does".to_owned()));
    }
    // https://sqlite.org/fileformat2.html#the_database_header: the application id at 68.
    let application = head.get(68..72).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_be_bytes);
    if application != 0 && application != APPLICATION_ID {
        return Err(file::foreign());
    }
    let damage = |error: StoreError| match error {
        StoreError::Damaged { context, source } => Ok(Some(format!("{context}: {source}"))),
        error => Err(error),
    };
    let db = match open(path, throttle) {
        Ok(db) => db,
        Err(error) => return damage(error),
    };
    match file::version(&db) {
        // Opening it reports the error: a database of a newer hub is not judged here.
        Ok(version) if version > file::SCHEMA_VERSION => return Ok(None),
        Ok(version) if version == file::SCHEMA_VERSION => {
            if let Err(error) = file::check_schema(&db) {
                return damage(error);
            }
        }
        Ok(_) => {}
        Err(error) => return damage(error),
    }
    match is_of_another(path, &db) {
        Ok(false) => {}
        Ok(true) => return Ok(Some("the WAL beside the database is that of another".to_owned())),
        Err(error) => return damage(error),
    }
    if !thorough {
        return Ok(None);
    }
    // With the indexes, because a page of one table in the place of another's is well-formed. With the
    // readings, because damage that a reader found must be found again.
    match look_through(&db, true) {
        Ok(found) => Ok((!found.faults.is_empty()).then(|| found.faults.join("; "))),
        Err(error) => damage(error),
    }
}

/// Whether the WAL cannot belong to this database. SQLite applies any WAL; but each commit that changes the
/// number of pages also writes it to page 1, so the two numbers agree in every WAL that belongs to the
/// database. A WAL of a database with the same number of pages is not detected.
fn is_of_another(path: &Path, db: &Connection) -> Result<bool> {
    let index = with_suffix(path, "-shm");
    // Another process may commit between the two reads, but not every time.
    for _ in 0..3 {
        let pages: u32 = db
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .map_err(engine_error("count the pages"))?;
        // https://sqlite.org/walformat.html#the_wal_index_header: frames at 16, pages at 20, in native byte
        // order.
        let head = fs::read(&index).unwrap_or_default();
        let number =
            |at: usize| head.get(at..at + 4).and_then(|n| n.try_into().ok()).map_or(0, u32::from_ne_bytes);
        if number(16) == 0 || number(20) == pages {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether an error means that the disk or its content can no longer be trusted.
pub(crate) fn is_suspect(error: &StoreError) -> bool {
    match error {
        StoreError::Damaged { .. } => true,
        StoreError::Engine { source, .. } => {
            source.downcast_ref::<Failure>().is_some_and(failure::Failure::is_fatal)
        }
        _ => false,
    }
}
