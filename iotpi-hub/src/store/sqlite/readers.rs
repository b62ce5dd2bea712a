//! The connections that only read, a few of them, each used by one query at a time.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use rusqlite::Connection;
use tokio::{sync::Semaphore, task};

use super::failure::EngineResult;
use crate::{
    lock::lock,
    store::{Result, StoreError},
};

/// Queries at once, at most. More would only share the same few cores and the memory of a page cache each.
pub(super) const CONNECTIONS: usize = 3;
/// Connections for looking up single rows, credentials above all: a request is not authenticated behind the queries of others.
pub(super) const LOOKUP_CONNECTIONS: usize = 1;
/// A query looks this often, in steps of SQLite's virtual machine, whether it was cancelled: some ten microseconds.
const CHECK_EVERY_STEPS: i32 = 1000;

/// A pool of read-only connections.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    /// One permit an idle connection.
    places: Arc<Semaphore>,
    size: u32,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        Self {
            places: Arc::new(Semaphore::new(connections.len())),
            size: u32::try_from(connections.len()).unwrap_or(u32::MAX),
            idle: Arc::new(Mutex::new(connections)),
        }
    }

    /// Runs a query on a thread that may block. `context` says what it does.
    ///
    /// # Errors
    /// What the query said; [`StoreError::Closed`].
    ///
    /// # Cancel safety
    /// A query that is cancelled stops within some steps of SQLite's virtual machine.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        context: &'static str,
        query: impl FnOnce(&Connection) -> EngineResult<T> + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let idle = Arc::clone(&self.idle);
        let cancel = CancelOnDrop::default();
        let is_cancelled = Arc::clone(&cancel.0);
        let read = move || {
            // The permit outlives the loan: whoever gets it next finds the connection.
            let _place = place;
            let mut loan = Loan::take(idle).ok_or(StoreError::Closed)?;
            loan.query(is_cancelled, query).map_err(|fail| fail.into_store_error(context))
        };
        let found = task::spawn_blocking(read).await;
        drop(cancel);
        found.map_err(|error| StoreError::Engine { context, source: error.into() })?
    }

    /// Waits for the queries that run and closes the connections.
    pub(super) async fn close(&self) {
        // Closed already when there is no permit to be had.
        let _places = self.places.acquire_many(self.size).await;
        self.places.close();
        lock(&self.idle).clear();
    }
}

/// Tells a running query that nobody waits for it any more.
#[derive(Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A connection in use; goes back when dropped, also by a query that panics.
struct Loan {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Loan {
    fn take(idle: Arc<Mutex<Vec<Connection>>>) -> Option<Self> {
        let connection = lock(&idle).pop()?;
        Some(Self { connection: Some(connection), idle })
    }

    /// One query sees one state of the database, however many statements it has.
    fn query<T>(
        &mut self,
        is_cancelled: Arc<AtomicBool>,
        query: impl FnOnce(&Connection) -> EngineResult<T>,
    ) -> EngineResult<T> {
        let Some(connection) = &mut self.connection else { return Err(StoreError::Closed.into()) };
        connection.progress_handler(CHECK_EVERY_STEPS, Some(move || is_cancelled.load(Relaxed)))?;
        let snapshot = connection.unchecked_transaction()?;
        let found = query(connection);
        snapshot.finish()?;
        connection.progress_handler(CHECK_EVERY_STEPS, None::<fn() -> bool>)?;
        found
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        lock(&self.idle).extend(self.connection.take());
    }
}
