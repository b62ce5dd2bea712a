//! Opens the engine, and passes reads and writes to its connections.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use iotpi_core::Timestamp;
use rusqlite::{Connection, config::DbConfig};

use super::{
    failure::EngineResult,
    file::Location,
    file_watch::FileWatch,
    files::{SUSPECT, with_suffix},
    module_removal,
    readers::{self, Readers},
    reserve::Reserve,
    writer::{WriteContext, Writer},
};
use crate::store::sqlite::{
    recovery::verify,
    series::{
        dedup::Dedup,
        expiry::{self, Removal},
        ingest::Ingest,
        memtable::Memtable,
    },
};
use crate::{
    lock::lock,
    store::{ModuleRecord, Pages, ReadReadings as _, Result, StoreError, StoreOptions, WriteModules as _},
};

/// A store in one SQLite database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    /// Absent in memory, where the writer's connection is the only one. Dropped first: the last connection to close
    /// checkpoints the WAL, and a reader cannot.
    pub(super) readers: Option<Readers>,
    /// For reads of single rows.
    pub(super) lookups: Option<Readers>,
    pub(super) writer: Writer,
    /// The series and the records that are not compacted.
    pub(super) memtable: Arc<Memtable>,
    pub(super) dedup: Arc<Mutex<Dedup>>,
    /// Absent in memory.
    pub(super) file: Option<PathBuf>,
    /// Absent in memory.
    pub(super) reserve: Option<Arc<Reserve>>,
    /// Absent in memory.
    pub(super) file_watch: Option<FileWatch>,
    /// The damage found on the disk. A file beside the database records that it must be verified at the next start.
    pub(super) suspect: Arc<OnceLock<String>>,
}

impl Sqlite {
    /// Opens the part of a store URL after `sqlite:`: `///path/to/file.db` or `:memory:`.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`]; [`StoreError::Engine`] if the database cannot be opened, belongs to another program or
    /// was created by a newer hub.
    pub(in crate::store) async fn open(rest: &str, options: StoreOptions) -> Result<Self> {
        match Location::parse(rest) {
            Some(location) => Self::open_location(location, options).await,
            None => Err(StoreError::BadUrl(format!("sqlite:{rest}"))),
        }
    }

    /// Opens the database at that path.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) async fn open_file(path: &Path, options: StoreOptions) -> Result<Self> {
        Self::open_location(Location::File(path.to_owned()), options).await
    }

    async fn open_location(location: Location, options: StoreOptions) -> Result<Self> {
        let open = move || {
            let file = match &location {
                Location::Memory => None,
                Location::File(path) => Some(path.clone()),
            };
            let connection = location.open_writer()?;
            let ingest = Ingest::load(&connection, options.compact_at).map_err(|fail| {
                // The files stay as they were found, including the WAL.
                let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
                fail.into_failure().at_start().into_store_error("read the WAL")
            })?;
            let (memtable, dedup) = (ingest.memtable(), ingest.dedup());
            let file_watch = file.as_deref().map(FileWatch::of);
            let writer = Writer::start(connection, ingest, options.commit_window, file_watch.clone())?;
            let open_readers = |most| -> Result<Option<Readers>> {
                let mut connections = Vec::new();
                while connections.len() < most
                    && let Some(connection) = location.open_reader()?
                {
                    connections.push(connection);
                }
                Ok((!connections.is_empty()).then(|| Readers::new(connections)))
            };
            let readers = open_readers(readers::CONNECTIONS)?;
            let lookups = open_readers(readers::LOOKUP_CONNECTIONS)?;
            let suspect = Arc::default();
            let reserve = file.as_deref().map(|file| Arc::new(Reserve::of(file)));
            Ok(Self { readers, lookups, writer, memtable, dedup, file, reserve, file_watch, suspect })
        };
        let store: Self = tokio::task::spawn_blocking(open)
            .await
            .map_err(|error| StoreError::Engine { context: "open the database", source: error.into() })??;
        for id in store.write("list removals in progress", |tx| module_removal::begun(tx)).await? {
            match store.remove_module(&id).await {
                Ok(()) | Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(store)
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&mut WriteContext<'_>) -> EngineResult<T> + Send + 'static,
    ) -> Result<T> {
        let done = self.writer.write(context, work).await;
        done.inspect_err(|error| self.suspect(error))
    }

    /// Like [`Self::write`], for work that frees space or is needed to free it: on a full disk it is retried with the space of the
    /// reserve.
    pub(super) async fn free<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&mut WriteContext<'_>) -> EngineResult<T> + Clone + Send + 'static,
    ) -> Result<T> {
        match self.write(context, work.clone()).await {
            Err(StoreError::Full(_)) if self.release_reserve() => self.write(context, work).await,
            done => done,
        }
    }

    fn release_reserve(&self) -> bool {
        let released = self.reserve.as_ref().is_some_and(|reserve| reserve.release().unwrap_or(false));
        if released {
            tracing::warn!("the disk is full: the reserve for deletions is released");
        }
        released
    }

    /// Creates the reserve if it was released and there is free space again.
    pub(super) async fn make_reserve(&self) -> Result<()> {
        let Some(reserve) = self.reserve.clone() else { return Ok(()) };
        let made = tokio::task::spawn_blocking(move || reserve.make()).await;
        // Not every file system supports it, and the hub runs without it.
        if let Ok(Err(error)) = made {
            tracing::debug!(%error, "there is no reserve for deletions");
        }
        Ok(())
    }

    /// Evicts one chunk of those that the removal covers. Returns the number of chunks removed or shortened.
    pub(super) async fn cut(&self, cut: Removal) -> Result<u32> {
        let step = move |tx: &mut WriteContext<'_>| expiry::step(tx, cut);
        let mut removed = self.free("evict records", step).await?;
        if matches!(cut, Removal::ShortSums { .. }) {
            while removed {
                removed = self.free("evict rollups", step).await?;
            }
        }
        Ok(removed.into())
    }

    /// The arrival of the newest record of all series, by the hub's clock.
    pub(super) async fn newest_received(&self) -> Result<Option<Timestamp>> {
        let mut pages = Pages::new();
        let mut received_at = None;
        while let Some(page) = pages.next() {
            let newest = pages.take(self.newest(None, None, &page).await?);
            received_at = received_at.max(newest.iter().filter_map(|reading| reading.received_at).max());
        }
        Ok(received_at)
    }

    pub(super) fn with_delivery(&self, record: ModuleRecord) -> ModuleRecord {
        ModuleRecord { delivery: lock(&self.dedup).account(&record.id), ..record }
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        context: &'static str,
        query: impl FnOnce(&Connection) -> EngineResult<T> + Send + 'static,
    ) -> Result<T> {
        self.read_on(self.readers.as_ref(), context, query).await
    }

    /// Reads a few rows by key, on a connection that no long query uses.
    pub(super) async fn look_up<T: Send + 'static>(
        &self,
        context: &'static str,
        query: impl FnOnce(&Connection) -> EngineResult<T> + Send + 'static,
    ) -> Result<T> {
        self.read_on(self.lookups.as_ref(), context, query).await
    }

    /// Reads on one of these connections; a database in memory has only the writer's.
    async fn read_on<T: Send + 'static>(
        &self,
        readers: Option<&Readers>,
        context: &'static str,
        query: impl FnOnce(&Connection) -> EngineResult<T> + Send + 'static,
    ) -> Result<T> {
        let found = match readers {
            Some(readers) => readers.read(context, query).await,
            None => self.writer.write(context, move |tx| query(tx)).await,
        };
        found.inspect_err(|error| self.suspect(error))
    }

    /// Records beside the file that the next start must verify it, if the error indicates damage.
    pub(super) fn suspect(&self, error: &StoreError) {
        let Some(file) = self.file.as_deref().filter(|_| verify::is_suspect(error)) else { return };
        let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        if self.suspect.set(cause).is_ok() {
            tracing::error!(error = error as &dyn std::error::Error, "the database is suspect");
            // The disk itself may be broken, so a failure of this write is ignored.
            let _ = fs::write(with_suffix(file, SUSPECT), format!("{error}\n"));
        }
    }
}
