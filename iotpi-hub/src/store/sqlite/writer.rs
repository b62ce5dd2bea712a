//! The thread that writes. Waiting writes are committed together, and acknowledged after the commit.
//!
//! A single write does not wait: the thread takes the queued writes, and while it commits, the next group
//! collects. Each write has a savepoint of its own, so a rejected one does not affect the others.
//!
//! With a commit window, for cards that wear, readings wait for that time to share a commit; any other write
//! commits at once and includes them.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, TryRecvError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::{Connection, config::DbConfig, hooks::Wal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::{
    failure::{EngineError, EngineResult, Failure},
    file_watch::FileWatch,
};
use crate::store::sqlite::series::ingest::Ingest;
use crate::store::{Result, StoreError};

/// The maximum number of queued writes before callers have to wait.
const QUEUE: usize = 1024;
/// The maximum number of writes in a commit, which bounds the latency of the first one.
const GROUP: usize = 256;
/// The WAL pages from which a checkpoint is due: a megabyte, with pages of 512 bytes. Small enough for a quick
/// start after a power cut, and large enough that many commits share one page write: with half of it, a day
/// writes 1.2 % more.
const WRITE_BACK_FROM_PAGES: i32 = 2000;

/// The queue of writes. When dropped, it waits until the thread has completed them.
pub(super) struct Writer {
    inbox: Option<mpsc::Sender<Message>>,
    /// One permit for each queued write.
    permits: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
    failed: watch::Receiver<Option<String>>,
}

enum Message {
    Write(Box<dyn Job>, OwnedSemaphorePermit),
    Close(oneshot::Sender<()>),
}

impl Message {
    /// Whether the write may wait for others.
    fn may_wait(&self) -> bool {
        matches!(self, Self::Write(job, _) if job.may_wait())
    }
}

/// The context of a write: the database, and the write path of readings.
pub(super) struct WriteContext<'a> {
    db: &'a Connection,
    pub(super) ingest: &'a mut Ingest,
}

impl WriteContext<'_> {
    /// The database and the write path of readings, borrowed separately.
    pub(super) fn split(&mut self) -> (&Connection, &mut Ingest) {
        (self.db, self.ingest)
    }
}

impl Deref for WriteContext<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.db
    }
}

impl Writer {
    /// Starts the thread, which owns the connection from now on. Readings wait up to `window` to be committed
    /// together.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the system cannot start a thread.
    pub(super) fn start(
        mut connection: Connection,
        ingest: Ingest,
        window: Duration,
        watch: Option<FileWatch>,
    ) -> Result<Self> {
        let (inbox, messages) = mpsc::channel();
        let commits = Arc::new(AtomicU64::new(0));
        let (failure_sender, failed) = watch::channel(None);
        let wal_pages = Arc::new(AtomicI32::new(0));
        let count = Arc::clone(&wal_pages);
        connection
            .wal_hook(Some(move |_: &mut Wal, pages| {
                count.store(pages, Ordering::Relaxed);
                Ok(())
            }))
            .map_err(|error| StoreError::Engine { context: "set up the database", source: error.into() })?;
        let broken = None;
        let commits_made = Arc::clone(&commits);
        let writer_thread = WriterThread {
            connection,
            ingest,
            window,
            broken,
            failure_sender,
            wal_pages,
            commits: commits_made,
            watch,
        };
        let thread = thread::Builder::new()
            .name("iotpi-store".to_owned())
            .spawn(move || writer_thread.run(messages))
            .map_err(|error| StoreError::Engine { context: "start the writer", source: error.into() })?;
        Ok(Self {
            inbox: Some(inbox),
            permits: Arc::new(Semaphore::new(QUEUE)),
            thread: Some(thread),
            commits,
            failed,
        })
    }

    /// Runs `work` in a transaction and returns when it is on disk. `context` describes it.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::Engine`], [`StoreError::Full`] if the commit failed;
    /// [`StoreError::Closed`].
    ///
    /// # Cancel safety
    /// If cancelled before it was queued, the work is never done; afterwards it is done.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&mut WriteContext<'_>) -> EngineResult<T> + Send + 'static,
    ) -> Result<T> {
        self.enqueue(context, CommitPolicy::Immediate, work).await
    }

    /// Like [`Self::write`], for work that may wait for others, and that undoes its own changes when it
    /// fails.
    ///
    /// # Errors
    /// As [`Self::write`].
    ///
    /// # Cancel safety
    /// As [`Self::write`].
    pub(super) async fn write_together<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&mut WriteContext<'_>) -> EngineResult<T> + Send + 'static,
    ) -> Result<T> {
        self.enqueue(context, CommitPolicy::Window, work).await
    }

    async fn enqueue<T: Send + 'static>(
        &self,
        context: &'static str,
        policy: CommitPolicy,
        work: impl FnOnce(&mut WriteContext<'_>) -> EngineResult<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let write = Write { context, policy, work: Some(work), done: None, reply };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        self.send(Message::Write(Box::new(write), permit))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Completes the queued writes and closes the connection.
    ///
    /// # Errors
    /// [`StoreError::Closed`] if it is closed already.
    pub(super) async fn close(&self) -> Result<()> {
        let (reply, closed) = oneshot::channel();
        self.send(Message::Close(reply))?;
        closed.await.map_err(|_| StoreError::Closed)
    }

    /// See [`StoreStatus::failed`](crate::store::StoreStatus::failed).
    pub(super) async fn failed(&self) -> String {
        let mut failed = self.failed.clone();
        let why = failed.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            // It was closed without a failure.
            None => std::future::pending().await,
        }
    }

    /// The number of committed transactions that changed data.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn send(&self, message: Message) -> Result<()> {
        let inbox = self.inbox.as_ref().ok_or(StoreError::Closed)?;
        inbox.send(message).map_err(|_| StoreError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.inbox = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported already.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("commits", &self.commits()).finish_non_exhaustive()
    }
}

/// How long a write may wait for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommitPolicy {
    /// Not at all.
    Immediate,
    /// For the commit window.
    Window,
}

/// A queued write, with any result type.
trait Job: Send {
    /// Whether it may wait for others; it then needs no savepoint either.
    fn may_wait(&self) -> bool;

    /// Does the work. `Ok` contains whether to keep its changes.
    fn run(&mut self, tx: &mut WriteContext<'_>) -> Result<bool, Failure>;

    /// Sends the result of the work to the caller if the group is on disk, otherwise the failure.
    fn answer(self: Box<Self>, group: Result<(), Failure>);
}

struct Write<T, F> {
    context: &'static str,
    policy: CommitPolicy,
    work: Option<F>,
    done: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnOnce(&mut WriteContext<'_>) -> EngineResult<T> + Send> Job for Write<T, F> {
    fn may_wait(&self) -> bool {
        self.policy == CommitPolicy::Window
    }

    fn run(&mut self, tx: &mut WriteContext<'_>) -> Result<bool, Failure> {
        let Some(work) = self.work.take() else { return Ok(false) };
        match work(tx) {
            Ok(value) => self.done = Some(Ok(value)),
            // SQLite has rolled back the whole group, or the engine has failed.
            Err(EngineError::Failed(failure)) if failure.is_fatal() || tx.is_autocommit() => {
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
        // The receiver is gone if the caller was cancelled.
        let _ = self.reply.send(answer);
    }
}

/// Writes that are committed together, each with its permit of the queue.
type Group = Vec<(Box<dyn Job>, OwnedSemaphorePermit)>;

/// The state of the thread.
struct WriterThread {
    connection: Connection,
    ingest: Ingest,
    window: Duration,
    /// The reason why no write may be acknowledged any more.
    broken: Option<Failure>,
    /// Reports the failure to [`Writer::failed`].
    failure_sender: watch::Sender<Option<String>>,
    /// The pages in the WAL after the last commit; 0 after a checkpoint.
    wal_pages: Arc<AtomicI32>,
    commits: Arc<AtomicU64>,
    /// `None` in memory.
    watch: Option<FileWatch>,
}

impl WriterThread {
    fn run(mut self, messages: mpsc::Receiver<Message>) {
        let mut closing = Vec::new();
        while let Some(messages_of_group) = self.next_group(&messages, !closing.is_empty()) {
            let mut group = Vec::new();
            for message in messages_of_group {
                match message {
                    Message::Write(job, permit) => group.push((job, permit)),
                    // Queued writes are completed first.
                    Message::Close(reply) => closing.push(reply),
                }
            }
            let committed = self.commit(&mut group);
            for (job, _place) in group {
                job.answer(committed.clone());
            }
        }
        if self.broken.is_some() {
            // A checkpoint would sync again, and a database that may be damaged is left unchanged.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        if let Err((_, error)) = self.connection.close() {
            tracing::error!(%error, "the database did not close");
        }
        for reply in closing {
            let _ = reply.send(());
        }
    }

    /// The next group; an empty one if there is only data to compact or to delete, `None` if there will be no
    /// further one.
    fn next_group(&self, messages: &mpsc::Receiver<Message>, closing: bool) -> Option<Vec<Message>> {
        let first = if closing || self.has_own_work() {
            match messages.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Empty) if !closing => return Some(Vec::new()),
                Err(_) => return None,
            }
        } else {
            messages.recv().ok()?
        };
        let until = Instant::now() + self.window;
        let mut group = vec![first];
        while group.len() < GROUP {
            let waits = !closing && !self.window.is_zero() && group.iter().all(Message::may_wait);
            let next = if waits {
                messages.recv_timeout(until.saturating_duration_since(Instant::now()))
            } else {
                messages.try_recv().map_err(|_| RecvTimeoutError::Timeout)
            };
            match next {
                Ok(message) => group.push(message),
                Err(_) => break,
            }
        }
        Some(group)
    }

    fn has_own_work(&self) -> bool {
        self.broken.is_none() && (self.ingest.is_compacting() || self.ingest.is_deleting())
    }

    fn commit(&mut self, group: &mut Group) -> Result<(), Failure> {
        if let Some(failure) = &self.broken {
            return Err(failure.clone());
        }
        let committed = self.transact(group);
        match &committed {
            Ok(()) => {
                self.ingest.committed();
                self.ingest.compact_if_full();
                self.write_back();
            }
            Err(failure) => {
                if !self.connection.is_autocommit() {
                    // If the rollback fails, the changes are not on disk either: the next start drops them
                    // from the WAL.
                    let _ = self.connection.execute_batch("ROLLBACK");
                }
                self.ingest.rolled_back();
                if failure.is_fatal() || !self.connection.is_autocommit() {
                    self.fail(failure);
                }
            }
        }
        committed
    }

    /// No write is acknowledged from now on.
    fn fail(&mut self, failure: &Failure) {
        // A failed sync must not be repeated: the kernel may have dropped the pages and would report success.
        // Every later write is refused, and the process has to end: the next start recovers.
        tracing::error!(error = %failure, "the store failed and takes no more writes");
        self.broken = Some(failure.clone());
        self.failure_sender.send_replace(Some(failure.to_string()));
    }

    /// Checkpoints the WAL when it is long. SQLite's automatic checkpoint does not report a failed sync.
    /// Missing space or an active reader is not such a failure: the commit is on disk, and the next
    /// checkpoint tries again.
    fn write_back(&mut self) {
        if self.wal_pages.load(Ordering::Relaxed) < WRITE_BACK_FROM_PAGES {
            return;
        }
        self.wal_pages.store(0, Ordering::Relaxed);
        if let Some(watch) = &self.watch {
            watch.before_write();
        }
        let done = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Some(watch) = &self.watch {
            watch.after_write();
        }
        if let Err(failure) = done.map_err(Failure::from)
            && failure.is_fatal()
        {
            self.fail(&failure);
        }
    }

    #[cfg_attr(not(feature = "sabotage"), allow(clippy::ptr_arg, reason = "the sabotage empties it"))]
    fn transact(&mut self, group: &mut Group) -> Result<(), Failure> {
        let Self { connection, ingest, .. } = self;
        let db: &Connection = connection;
        let before = db.total_changes();
        let execute = |sql: &str| db.prepare_cached(sql)?.execute([]).map_err(Failure::from);
        execute("BEGIN IMMEDIATE")?;
        if ingest.is_compacting() || group.iter().any(|(job, _)| job.may_wait()) {
            ingest.claim(db)?;
        }
        for (job, _) in group.iter_mut() {
            let mut tx = WriteContext { db, ingest };
            if job.may_wait() {
                job.run(&mut tx)?;
                continue;
            }
            execute("SAVEPOINT job")?;
            if !job.run(&mut tx)? {
                execute("ROLLBACK TO job")?;
            }
            execute("RELEASE job")?;
        }
        ingest.append(db).map_err(EngineError::into_failure)?;
        if ingest.is_compacting() {
            execute("SAVEPOINT compaction")?;
            if let Err(failure) = ingest.compact_some(db).map_err(EngineError::into_failure) {
                if failure.is_fatal() || db.is_autocommit() {
                    return Err(failure);
                }
                // The writes of the group are not affected.
                tracing::warn!(error = %failure, "the compaction failed and is retried");
                execute("ROLLBACK TO compaction")?;
                ingest.compact_later();
            }
            execute("RELEASE compaction")?;
        } else if ingest.is_deleting() {
            execute("SAVEPOINT removal")?;
            if let Err(failure) = ingest.delete_some(db).map_err(EngineError::into_failure) {
                if failure.is_fatal() || db.is_autocommit() {
                    return Err(failure);
                }
                tracing::warn!(error = %failure, "records of a removed module could not be deleted; later");
                execute("ROLLBACK TO removal")?;
                ingest.delete_later();
            }
            execute("RELEASE removal")?;
        }
        #[cfg(feature = "sabotage")]
        if crate::sabotage::is(crate::sabotage::Sabotage::AcknowledgeBeforeCommit) {
            group.drain(..).for_each(|(job, _)| job.answer(Ok(())));
            // The duration of a commit on a card; a killed process loses only the writes that were not on
            // disk yet.
            #[allow(clippy::disallowed_methods, reason = "it is meant to be slow")]
            thread::sleep(std::time::Duration::from_millis(2));
        }
        execute("COMMIT")?;
        if db.total_changes() != before {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
