//! The connections that only read, a few of them, each used by one query at a time.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::{sync::Semaphore, task};

use super::failure::Work;
use crate::store::{Result, StoreError};

/// Queries at once, at most. More would only share the same few cores and the memory of a page cache each.
pub(super) const CONNECTIONS: usize = 3;

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
    /// A cancelled query runs to its end unheard.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        context: &'static str,
        query: impl FnOnce(&Connection) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let idle = Arc::clone(&self.idle);
        let read = move || {
            // The permit outlives the loan: whoever gets it next finds the connection.
            let _place = place;
            let loan = Loan::take(idle).ok_or(StoreError::Closed)?;
            loan.query(query).map_err(|fail| fail.into_store_error(context))
        };
        task::spawn_blocking(read)
            .await
            .map_err(|error| StoreError::Engine { context, source: error.into() })?
    }

    /// Waits for the queries that run and closes the connections.
    pub(super) async fn close(&self) {
        // Closed already when there is no permit to be had.
        let _places = self.places.acquire_many(self.size).await;
        self.places.close();
        lock(&self.idle).clear();
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
    fn query<T>(&self, query: impl FnOnce(&Connection) -> Work<T>) -> Work<T> {
        let Some(connection) = &self.connection else { return Err(StoreError::Closed.into()) };
        let snapshot = connection.unchecked_transaction()?;
        let found = query(connection);
        snapshot.finish()?;
        found
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        lock(&self.idle).extend(self.connection.take());
    }
}

fn lock(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
