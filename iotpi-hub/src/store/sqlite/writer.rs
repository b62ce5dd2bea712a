//! The one thread that writes. Writes that wait together are committed together, and answered after the commit.
//!
//! A lone write waits for nobody: the thread takes what is there, and while it commits, the next group gathers by
//! itself. Each write runs in a savepoint of its own, so that one that is refused takes nothing of its neighbours along.
//!
//! With a commit window, which is for cards that wear, readings wait so long for company; any other write commits at once
//! and takes them along.

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
    failure::{Fail, Failure, Work},
    file_watch::Watch,
};
use crate::store::sqlite::series::ingest::Journal;
use crate::store::{Result, StoreError};

/// Writes that may wait before callers have to.
const QUEUE: usize = 1024;
/// Writes in one commit, at most: bounds how long the first of them waits.
const GROUP: usize = 256;
/// Half a megabyte of WAL, with pages of 512 bytes: written back often enough for a quick start after a power cut, seldom
/// enough to put many commits into one page write.
const WRITE_BACK_FROM_PAGES: i32 = 1000;

/// Where writes are handed in. Dropped, it waits until the thread has finished what it was given.
pub(super) struct Writer {
    inbox: Option<mpsc::Sender<Message>>,
    /// One permit a write that waits.
    places: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
    failed: watch::Receiver<Option<String>>,
}

enum Message {
    Write(Box<dyn Job>, OwnedSemaphorePermit),
    Close(oneshot::Sender<()>),
}

impl Message {
    /// Whether it may wait for company.
    fn is_patient(&self) -> bool {
        matches!(self, Self::Write(job, _) if job.is_patient())
    }
}

/// What a write works on: the database, and the way in for readings.
pub(super) struct Desk<'a> {
    db: &'a Connection,
    pub(super) journal: &'a mut Journal,
}

impl Desk<'_> {
    /// The database and the journal, each for itself.
    pub(super) fn parts(&mut self) -> (&Connection, &mut Journal) {
        (self.db, self.journal)
    }
}

impl Deref for Desk<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.db
    }
}

impl Writer {
    /// Starts the thread; the connection is its own from now on. Readings wait up to `window` to be committed together.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the system has no thread left.
    pub(super) fn start(
        mut connection: Connection,
        journal: Journal,
        window: Duration,
        watch: Option<Watch>,
    ) -> Result<Self> {
        let (inbox, messages) = mpsc::channel();
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
        let broken = None;
        let commits_made = Arc::clone(&commits);
        let scribe =
            Scribe { connection, journal, window, broken, tell, wal_pages, commits: commits_made, watch };
        let thread = thread::Builder::new()
            .name("iotpi-store".to_owned())
            .spawn(move || scribe.run(messages))
            .map_err(|error| StoreError::Engine { context: "start the writer", source: error.into() })?;
        Ok(Self {
            inbox: Some(inbox),
            places: Arc::new(Semaphore::new(QUEUE)),
            thread: Some(thread),
            commits,
            failed,
        })
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
        work: impl FnOnce(&mut Desk<'_>) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        self.hand_in(context, Patience::None, work).await
    }

    /// The same for work that may wait for company, and takes back by itself what it did when it fails.
    ///
    /// # Errors
    /// As [`Self::write`].
    ///
    /// # Cancel safety
    /// As [`Self::write`].
    pub(super) async fn write_together<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&mut Desk<'_>) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        self.hand_in(context, Patience::Window, work).await
    }

    async fn hand_in<T: Send + 'static>(
        &self,
        context: &'static str,
        patience: Patience,
        work: impl FnOnce(&mut Desk<'_>) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let write = Write { context, patience, work: Some(work), done: None, reply };
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        self.send(Message::Write(Box::new(write), place))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Finishes what was handed in and closes the connection.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when it was closed before.
    pub(super) async fn close(&self) -> Result<()> {
        let (reply, closed) = oneshot::channel();
        self.send(Message::Close(reply))?;
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

    fn send(&self, message: Message) -> Result<()> {
        let inbox = self.inbox.as_ref().ok_or(StoreError::Closed)?;
        inbox.send(message).map_err(|_| StoreError::Closed)
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

/// How long a write may be kept waiting for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    None,
    /// The commit window.
    Window,
}

/// A write, whatever it answers.
trait Job: Send {
    /// Whether it may wait for company; it then needs no savepoint either.
    fn is_patient(&self) -> bool;

    /// Does the work. `Ok` says whether to keep what it did.
    fn run(&mut self, desk: &mut Desk<'_>) -> Result<bool, Failure>;

    /// Tells the caller: what the work said, if the group is on the disk.
    fn answer(self: Box<Self>, group: Result<(), Failure>);
}

struct Write<T, F> {
    context: &'static str,
    patience: Patience,
    work: Option<F>,
    done: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnOnce(&mut Desk<'_>) -> Work<T> + Send> Job for Write<T, F> {
    fn is_patient(&self) -> bool {
        self.patience == Patience::Window
    }

    fn run(&mut self, desk: &mut Desk<'_>) -> Result<bool, Failure> {
        let Some(work) = self.work.take() else { return Ok(false) };
        match work(desk) {
            Ok(value) => self.done = Some(Ok(value)),
            // SQLite has undone the whole group, or the engine is broken.
            Err(Fail::Engine(failure)) if failure.is_fatal() || desk.is_autocommit() => {
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

/// Writes that are committed together, each with its place in the queue.
type Group = Vec<(Box<dyn Job>, OwnedSemaphorePermit)>;

/// The thread's side.
struct Scribe {
    connection: Connection,
    journal: Journal,
    window: Duration,
    /// Why nothing may be acknowledged any more.
    broken: Option<Failure>,
    /// Where whoever has to end the process listens.
    tell: watch::Sender<Option<String>>,
    /// How long the WAL was after the last commit; 0 once it was written back.
    wal_pages: Arc<AtomicI32>,
    commits: Arc<AtomicU64>,
    /// Absent in memory.
    watch: Option<Watch>,
}

impl Scribe {
    fn run(mut self, messages: mpsc::Receiver<Message>) {
        let mut closing = Vec::new();
        while let Some(gathered) = self.gather(&messages, !closing.is_empty()) {
            let mut group = Vec::new();
            for message in gathered {
                match message {
                    Message::Write(job, place) => group.push((job, place)),
                    // What was handed in is still done.
                    Message::Close(reply) => closing.push(reply),
                }
            }
            let committed = self.commit(&mut group);
            for (job, _place) in group {
                job.answer(committed.clone());
            }
        }
        if self.broken.is_some() {
            // To write the WAL back would be to sync once more; and a database that may be damaged stays as it was found.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        if let Err((_, error)) = self.connection.close() {
            tracing::error!(%error, "the database did not close");
        }
        for reply in closing {
            let _ = reply.send(());
        }
    }

    /// The next group; an empty one when there is only something to fold or to delete, none when there will never be one again.
    fn gather(&self, messages: &mpsc::Receiver<Message>, closing: bool) -> Option<Vec<Message>> {
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
            let patient = !closing && !self.window.is_zero() && group.iter().all(Message::is_patient);
            let next = if patient {
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
        self.broken.is_none() && (self.journal.is_folding() || self.journal.is_deleting())
    }

    fn commit(&mut self, group: &mut Group) -> Result<(), Failure> {
        if let Some(failure) = &self.broken {
            return Err(failure.clone());
        }
        let committed = self.transact(group);
        match &committed {
            Ok(()) => {
                self.journal.committed();
                self.journal.fold_if_full();
                self.write_back();
            }
            Err(failure) => {
                if !self.connection.is_autocommit() {
                    // What cannot be rolled back is not on the disk either: the next start drops it from the WAL.
                    let _ = self.connection.execute_batch("ROLLBACK");
                }
                self.journal.rolled_back();
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
        let Self { connection, journal, .. } = self;
        let db: &Connection = connection;
        let before = db.total_changes();
        let execute = |sql: &str| db.prepare_cached(sql)?.execute([]).map_err(Failure::from);
        execute("BEGIN IMMEDIATE")?;
        if journal.is_folding() || group.iter().any(|(job, _)| job.is_patient()) {
            journal.claim(db)?;
        }
        for (job, _) in group.iter_mut() {
            let mut desk = Desk { db, journal };
            if job.is_patient() {
                job.run(&mut desk)?;
                continue;
            }
            execute("SAVEPOINT job")?;
            if !job.run(&mut desk)? {
                execute("ROLLBACK TO job")?;
            }
            execute("RELEASE job")?;
        }
        journal.write(db).map_err(Fail::into_failure)?;
        if journal.is_folding() {
            execute("SAVEPOINT fold")?;
            if let Err(failure) = journal.fold_some(db).map_err(Fail::into_failure) {
                if failure.is_fatal() || db.is_autocommit() {
                    return Err(failure);
                }
                // The writes of the group are no worse for it.
                tracing::warn!(error = %failure, "the journal could not be folded; later");
                execute("ROLLBACK TO fold")?;
                journal.fold_later();
            }
            execute("RELEASE fold")?;
        } else if journal.is_deleting() {
            execute("SAVEPOINT removal")?;
            if let Err(failure) = journal.delete_some(db).map_err(Fail::into_failure) {
                if failure.is_fatal() || db.is_autocommit() {
                    return Err(failure);
                }
                tracing::warn!(error = %failure, "records of a removed module could not be deleted; later");
                execute("ROLLBACK TO removal")?;
                journal.delete_later();
            }
            execute("RELEASE removal")?;
        }
        #[cfg(feature = "sabotage")]
        if crate::sabotage::is(crate::sabotage::Sabotage::AcknowledgeBeforeCommit) {
            group.drain(..).for_each(|(job, _)| job.answer(Ok(())));
            // As a commit on a card takes; a killed process loses only what it had not yet written.
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
