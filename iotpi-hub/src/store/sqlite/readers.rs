//! The read-only connections. Each is used by one query at a time.

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

/// The maximum number of concurrent queries. More would share the same few cores and need a page cache each.
pub(super) const CONNECTIONS: usize = 3;
/// The number of connections for single rows, mostly credentials: an authentication does not wait for the
/// queries of others.
pub(super) const LOOKUP_CONNECTIONS: usize = 1;
/// The interval at which a query checks whether it was cancelled, in steps of SQLite's virtual machine: about
/// ten microseconds.
const CHECK_EVERY_STEPS: i32 = 1000;

/// A pool of read-only connections.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    /// One permit for each idle connection.
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

    /// Runs a query on a blocking thread. `context` describes it.
    ///
    /// # Errors
    /// The query's; [`StoreError::Closed`].
    ///
    /// # Cancel safety
    /// A cancelled query stops within a few steps of SQLite's virtual machine.
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
            // The permit is released after the connection was returned, so the next holder finds it.
            let _place = place;
            let mut loan = Loan::take(idle).ok_or(StoreError::Closed)?;
            loan.query(is_cancelled, query).map_err(|fail| fail.into_store_error(context))
        };
        let found = task::spawn_blocking(read).await;
        drop(cancel);
        found.map_err(|error| StoreError::Engine { context, source: error.into() })?
    }

    /// Waits for running queries and closes the connections.
    pub(super) async fn close(&self) {
        // No permit is available if it is closed already.
        let _places = self.places.acquire_many(self.size).await;
        self.places.close();
        lock(&self.idle).clear();
    }
}

/// Cancels the query when its caller is dropped.
#[derive(Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A borrowed connection. It is returned when dropped, also by a query that panics.
struct Loan {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Loan {
    fn take(idle: Arc<Mutex<Vec<Connection>>>) -> Option<Self> {
        let connection = lock(&idle).pop()?;
        Some(Self { connection: Some(connection), idle })
    }

    /// A query sees one state of the database, however many statements it has.
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
