//! The database file: where it is, who may read it, how connections to it are configured, and its schema.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig};

use super::{
    failure::{EngineResult, Failure, engine_error},
    files::{REPLACING, with_suffix},
};
#[cfg(feature = "sabotage")]
use crate::sabotage::{self, Sabotage};
use crate::store::{BoxError, StoreError};

/// "iotp" in ASCII: `file hub.db` shows it, and a database of another program is not mistaken for a hub's.
pub(super) const APPLICATION_ID: i32 = 0x696f_7470;

/// All tables and indexes.
pub(super) const SCHEMA: &str = include_str!("schema.sql");

/// The version of the schema, which a database keeps in `user_version`. 0 is an empty database.
pub(super) const SCHEMA_VERSION: usize = 1;

/// Counts what only databases of unreleased development versions have: other tables, or series without a channel.
const UNRELEASED: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'
     AND (name IN ('arrivals', 'journal') OR name = 'series' AND sql NOT LIKE '%channel%')";

/// A commit of a few readings writes one page to SQLite's WAL, so pages are small. Applies to a new database only.
const PAGE_BYTES: u32 = 512;

/// Another process (`iotpi-hub token add`) locks the file for a commit, which takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The page cache of a connection that reads. It is small, because a commit invalidates all of it.
const READER_CACHE_KIB: i64 = 512;

/// Larger than the number of the engine's statements.
const CACHED_STATEMENTS: usize = 64;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// In memory, private to the store that opened it.
    Memory,
    /// A file; SQLite keeps a `-wal` and a `-shm` file beside it.
    File(PathBuf),
}

impl Location {
    /// Parses what follows `sqlite:` in a store URL: `///path/to/file.db`, without percent-decoding, or `:memory:`.
    pub(super) fn parse(rest: &str) -> Option<Self> {
        match rest {
            ":memory:" => Some(Self::Memory),
            _ => rest.strip_prefix("//").filter(|path| !path.is_empty()).map(|path| Self::File(path.into())),
        }
    }

    /// The path of the file; `None` in memory.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Memory => None,
            Self::File(path) => Some(path),
        }
    }

    /// Opens the connection that writes. Creates the folder, the file and the tables if they are missing.
    pub(super) fn open_writer(&self) -> Result<Connection, StoreError> {
        let connection = match self.path() {
            None => Connection::open_in_memory().map_err(engine_error("open a database in memory"))?,
            Some(path) => {
                // While a database is being replaced, nothing may open what is at its path.
                if with_suffix(path, REPLACING).exists() {
                    return Err(unusable(Unusable::Replacing));
                }
                create(path).map_err(failed("create the database file"))?;
                let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                Connection::open_with_flags(path, flags).map_err(engine_error("open the database"))?
            }
        };
        configure_writer(&connection)?;
        with_schema(connection)
    }

    /// Opens a connection that only reads; `None` in memory, where there is only the connection that writes.
    pub(super) fn open_reader(&self) -> Result<Option<Connection>, StoreError> {
        let Some(path) = self.path() else { return Ok(None) };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(engine_error("open the database"))?;
        configure(&connection)
            .and_then(|()| connection.pragma_update(None, "query_only", true))
            .and_then(|()| connection.pragma_update(None, "cache_size", -READER_CACHE_KIB))
            .map_err(engine_error("set up the database"))?;
        Ok(Some(connection))
    }
}

/// The file that a store URL names, given what follows `sqlite:`.
pub(crate) fn database_path(rest: &str) -> Option<PathBuf> {
    Location::parse(rest)?.path().map(Path::to_owned)
}

fn failed<E: Into<BoxError>>(context: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Engine { context, source: error.into() }
}

fn unusable(why: Unusable) -> StoreError {
    failed("open the database")(why)
}

/// Creates the file, readable by its owner only: it holds password hashes and keys. SQLite gives its other files the same mode.
fn create(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The error for a database of another program.
pub(super) fn foreign() -> StoreError {
    unusable(Unusable::Foreign)
}

/// The settings of every connection.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // A statement is not planned again for other parameters: planning takes longer than a query of a few rows.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A file that was tampered with must not make SQLite run functions from its schema.
    connection.pragma_update(None, "trusted_schema", false)?;
    // Sorting spills into memory, not onto the card.
    connection.pragma_update(None, "temp_store", "memory")
}

fn configure_writer(connection: &Connection) -> Result<(), StoreError> {
    let context = "set up the database";
    match unsafe_journal_mode(connection).map_err(engine_error(context))? {
        None => Ok(()),
        Some(mode) => Err(failed(context)(Unusable::NoWal { mode })),
    }
}

/// Switches to WAL mode. Returns the modes that SQLite reports on the way.
fn switch_to_wal(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    // SQLite reports the mode before it commits the change: only a caller that reads to the end sees that error.
    let switch =
        || connection.prepare("PRAGMA journal_mode = wal")?.query_map([], |row| row.get(0))?.collect();
    let began = Instant::now();
    loop {
        match switch() {
            // Another process does the same with a new file. SQLite does not wait here, whatever its busy timeout.
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

/// Configures the connection that writes. Returns the journal mode if a commit in that mode might not survive a power cut.
fn unsafe_journal_mode(connection: &Connection) -> rusqlite::Result<Option<String>> {
    configure(connection)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    if let Some(mode) = switch_to_wal(connection)?.into_iter().find(|mode| mode != "wal" && mode != "memory")
    {
        return Ok(Some(mode));
    }
    // Each commit is on the disk before it is acknowledged; `normal` would lose the last ones in a power cut.
    let synchronous = "full";
    #[cfg(feature = "sabotage")]
    let synchronous = if sabotage::is(Sabotage::SyncLess) { "normal" } else { synchronous };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // The writer thread runs the checkpoints, because it has to check whether they succeed.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    // The WAL file shrinks again after a burst.
    connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))?;
    Ok(None)
}

/// Why the hub does not use a database, and leaves it as it is.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the file is a database of another program")]
    Foreign,
    #[error("the database is being replaced; the next start of the hub completes that")]
    Replacing,
    #[error(
        "the database was made by an unreleased development version of the hub, which no release can read"
    )]
    Unreleased,
    #[error("the database has version {found}, made by a newer hub; this one knows versions up to {known}")]
    Newer { found: usize, known: usize },
    #[error("the database stays in journal mode `{mode}` and does not switch to WAL mode")]
    NoWal { mode: String },
}

/// Creates the tables in an empty database; refuses one of another version.
fn with_schema(mut connection: Connection) -> Result<Connection, StoreError> {
    if version(&connection)? == 0 {
        create_schema(&mut connection)?;
    }
    let found = version(&connection)?;
    if found > SCHEMA_VERSION {
        return Err(unusable(Unusable::Newer { found, known: SCHEMA_VERSION }));
    }
    if let Err(error) = check_schema(&connection) {
        // A damaged database, and the WAL beside it, stay as they were found.
        let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        return Err(error);
    }
    Ok(connection)
}

fn create_schema(connection: &mut Connection) -> Result<(), StoreError> {
    let context = "create the tables";
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(engine_error(context))?;
    // Another process may have created them meanwhile.
    if version(&transaction)? == 0 {
        let create = || -> rusqlite::Result<()> {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)
        };
        create().map_err(engine_error(context))?;
    }
    transaction.commit().map_err(engine_error(context))
}

/// Checks that the tables and indexes are, to the letter, those of the schema; additional ones are ignored. A schema in which one letter
/// has changed on a bad disk fails here, and not in the first statement that misses a column.
pub(super) fn check_schema(connection: &Connection) -> Result<(), StoreError> {
    let check = || -> EngineResult<()> {
        let expected = Connection::open_in_memory()?;
        expected.execute_batch(SCHEMA)?;
        let found = schema(connection)?;
        match schema(&expected)?.difference(&found).next() {
            Some((name, _)) => {
                Err(Failure::damaged(&format!("the definition of `{name}` has changed")).into())
            }
            None => Ok(()),
        }
    };
    check().map_err(|error| error.into_failure().at_start().into_store_error("read the tables"))
}

/// The tables and indexes, by name, each with the SQL that created it.
fn schema(connection: &Connection) -> rusqlite::Result<BTreeSet<(String, String)>> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The version of a hub's database; 0 if the database is empty.
///
/// # Errors
/// [`StoreError::Engine`] when it is another program's, or an unreleased version's; SQLite's.
pub(super) fn version(connection: &Connection) -> Result<usize, StoreError> {
    let context = "read the database";
    // One snapshot: another process may be creating the tables.
    let snapshot = connection.is_autocommit().then(|| connection.unchecked_transaction()).transpose();
    let _snapshot = snapshot.map_err(engine_error(context))?;
    let read = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application = read("application_id").map_err(engine_error(context))?;
    let version = read("user_version").map_err(engine_error(context))?;
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, usize>(0));
    let tables = count("SELECT count(*) FROM sqlite_schema").map_err(engine_error(context))?;
    match usize::try_from(version) {
        Ok(version) if application == APPLICATION_ID => {
            match count(UNRELEASED).map_err(engine_error(context))? {
                0 => Ok(version),
                _ => Err(unusable(Unusable::Unreleased)),
            }
        }
        Ok(0) if application == 0 && tables == 0 => Ok(0),
        _ => Err(foreign()),
    }
}
