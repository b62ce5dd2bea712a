//! The database file: where it is, who may read it, how connections to it are set up, which tables it has.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use iotpi_core::{Outcome, TimeSource};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig};

use super::failure::{Fail, Failure, Work, said};
use super::files::{REPLACING, with_suffix};
#[cfg(feature = "sabotage")]
use crate::sabotage::{self, Sabotage};
use crate::store::sqlite::series::{
    chunk::{MAX_POINTS, decode},
    compaction,
    point::Point,
    rollups,
    sum::unrolled_width,
};
use crate::store::{BoxError, StoreError};

/// The file that a store URL names, given what follows `sqlite:`.
pub(crate) fn database_path(rest: &str) -> Option<PathBuf> {
    match Place::parse(rest)? {
        Place::Memory => None,
        Place::File(path) => Some(path),
    }
}

/// "iotp" in ASCII: `file hub.db` shows it, and a database of another program is not taken for ours.
pub(super) const APPLICATION_ID: i32 = 0x696f_7470;

/// Applied in order, each once; a database remembers in `user_version` how many it has. Never edit one that was
/// released: add the next.
pub(super) const MIGRATIONS: [&str; 6] = [
    include_str!("migrations/0001-first.sql"),
    include_str!("migrations/0002-journal.sql"),
    include_str!("migrations/0003-commands.sql"),
    include_str!("migrations/0004-recordings.sql"),
    include_str!("migrations/0005-rollups.sql"),
    include_str!("migrations/0006-fair-retention.sql"),
];

/// From this migration on they are applied in one transaction, in which readings are then brought into the form that is
/// written now: that needs all the tables of now.
const REWRITE_READINGS: usize = 4;

/// A commit of a few readings writes one page to the WAL, so pages are small. Counts for a new database only.
const PAGE_BYTES: u32 = 512;

/// The newest version of the tables this hub knows.
pub(super) const KNOWN: usize = MIGRATIONS.len();

/// Another process (`iotpi-hub token add`) holds the file for a commit, which takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The pages that a reading connection keeps. Few, because a commit makes them all stale.
const READER_CACHE_KIB: i64 = 512;

/// Every statement of the engine fits.
const STATEMENTS_CACHED: usize = 64;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In memory, private to the store that opened it.
    Memory,
    /// A file; `-wal` and `-shm` lie beside it.
    File(PathBuf),
}

impl Place {
    /// Reads what follows `sqlite:` in a store URL: `///path/to/file.db` (nothing in it is decoded) or `:memory:`.
    pub(super) fn parse(rest: &str) -> Option<Self> {
        match rest {
            ":memory:" => Some(Self::Memory),
            _ => rest.strip_prefix("//").filter(|path| !path.is_empty()).map(|path| Self::File(path.into())),
        }
    }

    /// Opens the connection that writes. The file, its folder and its tables are made when missing.
    pub(super) fn open_writer(&self) -> Result<Connection, StoreError> {
        let connection = match self {
            Self::Memory => Connection::open_in_memory().map_err(said("open a database in memory"))?,
            Self::File(path) => {
                // A database that is half put aside, or a new one half in place, is not opened by anybody.
                if with_suffix(path, REPLACING).exists() {
                    return Err(failed("open the database")(Unfit::Aside));
                }
                create(path).map_err(failed("create the database file"))?;
                let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                Connection::open_with_flags(path, flags).map_err(said("open the database"))?
            }
        };
        set_up(&connection)?;
        migrate(connection)
    }

    /// Opens a connection that only reads; nothing when the place has only the one connection.
    pub(super) fn open_reader(&self) -> Result<Option<Connection>, StoreError> {
        let Self::File(path) = self else { return Ok(None) };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(said("open the database"))?;
        share(&connection)
            .and_then(|()| connection.pragma_update(None, "query_only", true))
            .and_then(|()| connection.pragma_update(None, "cache_size", -READER_CACHE_KIB))
            .map_err(said("set up the database"))?;
        Ok(Some(connection))
    }
}

fn failed<E: Into<BoxError>>(context: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Engine { context, source: error.into() }
}

/// Makes the file, readable by its owner alone: it holds password hashes and keys. SQLite gives the files beside it
/// the same mode.
fn create(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The answer for a database of another program.
pub(super) fn foreign() -> StoreError {
    failed("open the database")(Unfit::Foreign)
}

pub(super) fn share(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // A statement is not planned anew for other parameters: planning takes longer than a query of a few rows.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A changed file must not make SQLite run what its schema says.
    connection.pragma_update(None, "trusted_schema", false)?;
    // Sorting spills into memory, not onto the card.
    connection.pragma_update(None, "temp_store", "memory")
}

fn set_up(connection: &Connection) -> Result<(), StoreError> {
    match settings(connection).map_err(said("set up the database"))? {
        None => Ok(()),
        Some(mode) => Err(failed("set up the database")(Unfit::NoWal { mode })),
    }
}

/// Goes into WAL mode; answers the modes SQLite names on the way.
fn go_into_wal(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    // The answer comes before the change is committed: only whoever reads on to the end is told when that fails.
    let go = || connection.prepare("PRAGMA journal_mode = wal")?.query_map([], |row| row.get(0))?.collect();
    let began = Instant::now();
    loop {
        match go() {
            // Somebody else does the same with a new file. SQLite does not wait for them here, whatever its timeout.
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && began.elapsed() < BUSY_TIMEOUT =>
            {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            modes => return modes,
        }
    }
}

/// Answers the journal mode, if it is not one in which a commit is sure to survive a power cut.
fn settings(connection: &Connection) -> rusqlite::Result<Option<String>> {
    share(connection)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    if let Some(mode) = go_into_wal(connection)?.into_iter().find(|mode| mode != "wal" && mode != "memory") {
        return Ok(Some(mode));
    }
    // Each commit is on the disk before it is acknowledged; `normal` would lose the last ones in a power cut.
    let synchronous = "full";
    #[cfg(feature = "sabotage")]
    let synchronous = if sabotage::is(Sabotage::SyncLess) { "normal" } else { synchronous };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // The writer writes the WAL back, and looks at what comes of it.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    // After a burst the WAL file shrinks again.
    connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))?;
    Ok(None)
}

/// Why the hub does not touch a database.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the file is a database of another program")]
    Foreign,
    #[error("the database is being replaced, which the next start of the hub ends")]
    Aside,
    #[error("the database has version {found}, made by a newer hub; this one knows versions up to {known}")]
    Newer { found: usize, known: usize },
    #[error("the database stays in journal mode `{mode}` and does not go into WAL mode")]
    NoWal { mode: String },
}

fn migrate(mut connection: Connection) -> Result<Connection, StoreError> {
    let known = KNOWN;
    // One transaction a migration. The version is read within it: another process may be doing the same.
    while version(&connection)? < known {
        apply_next(&mut connection).map_err(|fail| fail.into_store_error("migrate the database"))?;
    }
    match version(&connection)? {
        found if found > known => Err(failed("open the database")(Unfit::Newer { found, known })),
        _ => match has_our_tables(&connection) {
            Ok(()) => Ok(connection),
            Err(error) => {
                // What is there stays as it was found, the WAL beside it too.
                let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
                Err(error)
            }
        },
    }
}

/// The tables and indexes are, to the letter, those that the migrations make; what somebody added beside them is theirs. A
/// schema in which one letter has rotted fails here, and not with the first statement that misses a column.
pub(super) fn has_our_tables(connection: &Connection) -> Result<(), StoreError> {
    let tables = || -> Work<()> {
        let mut ours = Connection::open_in_memory()?;
        while version_of(&ours)? < KNOWN {
            apply_next(&mut ours)?;
        }
        let found = schema(connection)?;
        match schema(&ours)?.difference(&found).next() {
            Some((name, _)) => Err(Failure::damaged(&format!("`{name}` is not what it was made as")).into()),
            None => Ok(()),
        }
    };
    tables().map_err(|fail| fail.into_failure().at_start().into_store_error("read the tables"))
}

/// What there is, by name, each with the text it was made by.
fn schema(connection: &Connection) -> rusqlite::Result<BTreeSet<(String, String)>> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn version_of(connection: &Connection) -> rusqlite::Result<usize> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn apply_next(connection: &mut Connection) -> Work<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = version(&transaction)?;
    let next = if done == REWRITE_READINGS { KNOWN } else { done + 1 };
    if let Some(migrations) = MIGRATIONS.get(done..next) {
        migrations.iter().try_for_each(|migration| transaction.execute_batch(migration))?;
        if done == REWRITE_READINGS {
            carry_over(&transaction)?;
            unroll(&transaction)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", next)?;
    }
    transaction.commit().map_err(Fail::from)
}

/// Moves the readings of the first form of database, a row each, into chunks and rollups.
fn carry_over(db: &Connection) -> Work<()> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'readings'";
    if db.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(());
    }
    let mut series = db.prepare("SELECT id FROM series")?;
    let series = series.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    for id in series {
        let mut rows = db.prepare(
            "SELECT taken_at_us, received_at_us, value, reason FROM readings WHERE series_id = ?1
             ORDER BY taken_at_us, arrival",
        )?;
        let mut rows = rows.query([id])?;
        let mut points = Vec::with_capacity(MAX_POINTS);
        loop {
            let row = rows.next()?;
            if points.len() == MAX_POINTS || row.is_none() {
                compaction::series(db, id, &points, 0)?;
                points.clear();
            }
            let Some(row) = row else { break };
            let outcome = match row.get(2)? {
                Some(value) => Outcome::Value(value),
                None => Outcome::NoData(row.get(3)?),
            };
            let received_ms = row.get::<_, i64>(1)?.div_euclid(1000);
            let (source, numbered) = (TimeSource::Module, false);
            points.push(Point { taken_us: row.get(0)?, received_ms, outcome, source, numbered });
        }
    }
    Ok(db.execute_batch("DROP TABLE readings")?)
}

/// Takes the records of each chunk out of the rollups that are not worth it. Those of a chunk that cannot be read stay: the next
/// look through the database finds it.
fn unroll(db: &Connection) -> Work<()> {
    let mut chunk = db.prepare("SELECT series_id, body FROM chunks WHERE id = ?1")?;
    let mut mark = db.prepare("UPDATE chunks SET unrolled_width = ?2 WHERE id = ?1")?;
    let ids = db
        .prepare("SELECT id FROM chunks WHERE unrolled_width = 0")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?;
    for id in ids {
        let (series, body): (i64, Vec<u8>) = chunk.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Ok(points) = decode(&body) else { continue };
        let unrolled_width = unrolled_width(&points);
        if unrolled_width > 0 {
            rollups::take_out(db, series, &points, unrolled_width)?;
            mark.execute([id, unrolled_width])?;
        }
    }
    Ok(())
}

/// How many migrations a database of ours, or an empty one, has.
pub(super) fn version(connection: &Connection) -> Result<usize, StoreError> {
    // All of one moment: another process may be making the tables.
    let moment = connection.is_autocommit().then(|| connection.unchecked_transaction()).transpose();
    let _moment = moment.map_err(said("read the database"))?;
    let read = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application = read("application_id").map_err(said("read the database"))?;
    let version = read("user_version").map_err(said("read the database"))?;
    let tables: usize = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(said("read the database"))?;
    match usize::try_from(version) {
        Ok(version) if application == APPLICATION_ID => Ok(version),
        Ok(0) if application == 0 && tables == 0 => Ok(0),
        _ => Err(foreign()),
    }
}
