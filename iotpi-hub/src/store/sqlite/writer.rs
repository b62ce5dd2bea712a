//! The one thread that writes. Writes that wait together are committed together, and answered after the commit.
//!
//! A lone write waits for nobody: the thread takes what is there, and while it commits, the next group gathers by
//! itself. Each write runs in a savepoint of its own, so that one that is refused takes nothing of its neighbours along.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, config::DbConfig, hooks::Wal};
use tokio::sync::{mpsc, oneshot, watch};

use super::failure::{Fail, Failure, Work};
use crate::store::{Result, StoreError};

/// Writes that may wait before callers have to.
const QUEUE: usize = 1024;
/// Writes in one commit, at most: bounds how long the first of them waits.
const GROUP: usize = 256;
/// 4 MiB of WAL: written back often enough to stay small, seldom enough to fold many commits into one page write.
const WRITE_BACK_FROM_PAGES: i32 = 1000;

/// Where writes are handed in. Dropped, it waits until the thread has finished what it was given.
pub(super) struct Writer {
    inbox: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
    failed: watch::Receiver<Option<String>>,
}

enum Message {
    Write(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the thread; the connection is its own from now on.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the system has no thread left.
    pub(super) fn start(mut connection: Connection) -> Result<Self> {
        let (inbox, messages) = mpsc::channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let (tell, failed) = watch::channel(None);
        let wal_pages = Arc::new(AtomicI32::new(0));
        let count = Arc::clone(&wal_pages);
        connection
            .wal_hook(Some(move |_: &mut Wal, pages| {
                count.store(pages, Ordering::Relaxed);
                Ok(())
            }))
            .map_err(|error| StoreError::Engine { context: "set up the database", source: error.into() })?;
        let scribe = Scribe { connection, broken: None, tell, wal_pages, commits: Arc::clone(&commits) };
        let thread = thread::Builder::new()
            .name("iotpi-store".to_owned())
            .spawn(move || scribe.run(messages))
            .map_err(|error| StoreError::Engine { context: "start the writer", source: error.into() })?;
        Ok(Self { inbox: Some(inbox), thread: Some(thread), commits, failed })
    }

    /// Does `work` in a transaction and answers once it is on the disk. `context` says what it does.
    ///
    /// # Errors
    /// What `work` said; [`StoreError::Engine`], [`StoreError::Full`] when the commit failed; [`StoreError::Closed`].
    ///
    /// # Cancel safety
    /// Cancelled before it was handed in, the work is never done; afterwards it is done all the same.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&Connection) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let write = Write { context, work: Some(work), done: None, reply };
        self.send(Message::Write(Box::new(write))).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Finishes what was handed in and closes the connection.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when it was closed before.
    pub(super) async fn close(&self) -> Result<()> {
        let (reply, closed) = oneshot::channel();
        self.send(Message::Close(reply)).await?;
        closed.await.map_err(|_| StoreError::Closed)
    }

    /// See [`Store::failed`](crate::store::Store::failed).
    pub(super) async fn failed(&self) -> String {
        let mut failed = self.failed.clone();
        let why = failed.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            // It ended well.
            None => std::future::pending().await,
        }
    }

    /// How many transactions that changed something were committed.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    async fn send(&self, message: Message) -> Result<()> {
        let inbox = self.inbox.as_ref().ok_or(StoreError::Closed)?;
        inbox.send(message).await.map_err(|_| StoreError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.inbox = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("commits", &self.commits()).finish_non_exhaustive()
    }
}

/// A write, whatever it answers.
trait Job: Send {
    /// Does the work. `Ok` says whether to keep what it did.
    fn run(&mut self, connection: &Connection) -> Result<bool, Failure>;

    /// Tells the caller: what the work said, if the group is on the disk.
    fn answer(self: Box<Self>, group: Result<(), Failure>);
}

struct Write<T, F> {
    context: &'static str,
    work: Option<F>,
    done: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Work<T> + Send> Job for Write<T, F> {
    fn run(&mut self, connection: &Connection) -> Result<bool, Failure> {
        let Some(work) = self.work.take() else { return Ok(false) };
        match work(connection) {
            Ok(value) => self.done = Some(Ok(value)),
            // SQLite has undone the whole group, or the engine is broken.
            Err(Fail::Engine(failure)) if failure.is_fatal() || connection.is_autocommit() => {
                return Err(failure);
            }
            Err(fail) => self.done = Some(Err(fail.into_store_error(self.context))),
        }
        Ok(matches!(self.done, Some(Ok(_))))
    }

    fn answer(self: Box<Self>, group: Result<(), Failure>) {
        let answer = match (self.done, group) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(failure)) => Err(failure.into_store_error(self.context)),
            (Some(done), Ok(())) => done,
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // Nobody listens any more when the caller was cancelled.
        let _ = self.reply.send(answer);
    }
}

/// The thread's side.
struct Scribe {
    connection: Connection,
    /// Why nothing may be acknowledged any more.
    broken: Option<Failure>,
    /// Where whoever has to end the process listens.
    tell: watch::Sender<Option<String>>,
    /// How long the WAL was after the last commit; 0 once it was written back.
    wal_pages: Arc<AtomicI32>,
    commits: Arc<AtomicU64>,
}

impl Scribe {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut closing = Vec::new();
        while let Some(first) = messages.blocking_recv() {
            let waiting = std::iter::from_fn(|| messages.try_recv().ok());
            let mut group = Vec::new();
            for message in std::iter::once(first).chain(waiting.take(GROUP - 1)) {
                match message {
                    Message::Write(job) => group.push(job),
                    Message::Close(reply) => closing.push(reply),
                }
            }
            if !closing.is_empty() {
                // What was handed in is still done; nothing new is taken.
                messages.close();
            }
            let committed = self.commit(&mut group);
            for job in group {
                job.answer(committed.clone());
            }
        }
        if self.broken.is_some() {
            // To write the WAL back would be to sync once more.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        if let Err((_, error)) = self.connection.close() {
            tracing::error!(%error, "the database did not close");
        }
        for reply in closing {
            let _ = reply.send(());
        }
    }

    fn commit(&mut self, group: &mut Vec<Box<dyn Job>>) -> Result<(), Failure> {
        if let Some(failure) = &self.broken {
            return Err(failure.clone());
        }
        let committed = self.transact(group);
        match &committed {
            Ok(()) => self.write_back(),
            Err(failure) => {
                if !self.connection.is_autocommit() {
                    // What cannot be rolled back is not on the disk either: the next start drops it from the WAL.
                    let _ = self.execute("ROLLBACK");
                }
                if failure.is_fatal() || !self.connection.is_autocommit() {
                    self.fail(failure);
                }
            }
        }
        committed
    }

    /// Nothing is acknowledged from now on.
    fn fail(&mut self, failure: &Failure) {
        // A failed sync must not be tried again: the kernel may have thrown the pages away and would say yes. Every later
        // write is refused, and the process is to end: the next start recovers.
        tracing::error!(error = %failure, "the store failed and takes no more writes");
        self.broken = Some(failure.clone());
        self.tell.send_replace(Some(failure.to_string()));
    }

    /// Writes the WAL back when it has grown long. SQLite would by itself, but says nothing when a sync fails meanwhile. No
    /// room, or a reader in the way, is no such failure: the commit is on the disk, and the next one tries again.
    fn write_back(&mut self) {
        if self.wal_pages.load(Ordering::Relaxed) < WRITE_BACK_FROM_PAGES {
            return;
        }
        self.wal_pages.store(0, Ordering::Relaxed);
        let done = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(failure) = done.map_err(Failure::from)
            && failure.is_fatal()
        {
            self.fail(&failure);
        }
    }

    #[cfg_attr(not(feature = "sabotage"), allow(clippy::ptr_arg, reason = "the sabotage empties it"))]
    fn transact(&self, group: &mut Vec<Box<dyn Job>>) -> Result<(), Failure> {
        let before = self.connection.total_changes();
        self.execute("BEGIN IMMEDIATE")?;
        for job in group.iter_mut() {
            self.execute("SAVEPOINT job")?;
            if !job.run(&self.connection)? {
                self.execute("ROLLBACK TO job")?;
            }
            self.execute("RELEASE job")?;
        }
        #[cfg(feature = "sabotage")]
        if crate::sabotage::is(crate::sabotage::Sabotage::AcknowledgeBeforeCommit) {
            group.drain(..).for_each(|job| job.answer(Ok(())));
            // As a commit on a card takes; a killed process loses only what it had not yet written.
            #[allow(clippy::disallowed_methods, reason = "it is meant to be slow")]
            thread::sleep(std::time::Duration::from_millis(2));
        }
        self.execute("COMMIT")?;
        if self.connection.total_changes() != before {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn execute(&self, sql: &str) -> Result<(), Failure> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}
