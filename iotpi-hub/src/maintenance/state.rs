//! The state of the storage while the hub runs.

use std::{
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    DatabaseLock, DeviceKind, Machine, Recovered, RetentionReport, SpaceState,
    backup::{self, BackupFile, Turn},
    device_kind,
    retention::ClockWatch,
    wear::Wear,
};
use crate::{config::BackupConfig, lock::lock, store::Now};

/// The state of the storage.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) machine: Machine,
    /// `None` for a database in memory.
    pub(crate) file: Option<PathBuf>,
    pub(crate) backups: Option<PathBuf>,
    pub(crate) device: DeviceKind,
    pub(crate) commit_window: Duration,
    /// The repair of a damaged database at the start.
    pub(crate) recovered: Option<Recovered>,
    pub(crate) wear: Mutex<Wear>,
    pub(crate) space: Mutex<SpaceState>,
    full: AtomicBool,
    /// Notified when a write found no space.
    pub(crate) space_exhausted: Notify,
    pub(crate) backup: Mutex<Option<BackupFile>>,
    pub(crate) backup_turn: Mutex<Turn>,
    /// Held while a backup is made.
    pub(crate) backing_up: tokio::sync::Mutex<()>,
    pub(crate) clock: Mutex<ClockWatch>,
    pub(crate) retention: Mutex<Option<RetentionReport>>,
    problems: Mutex<Problems>,
    held: Mutex<Option<DatabaseLock>>,
    /// The uptime at the last successful check of the store.
    pub(crate) checked_at: Mutex<Option<Duration>>,
}

/// Problems that need attention, by subject.
#[derive(Debug, Clone, Default)]
pub(crate) struct Problems {
    pub(crate) store: Option<String>,
    pub(crate) backup: Option<String>,
    pub(crate) scrub: Option<String>,
    pub(crate) space: Option<String>,
    pub(crate) retention: Option<String>,
    pub(crate) recording: Option<String>,
}

impl Storage {
    pub(crate) fn new(
        machine: Machine,
        file: Option<PathBuf>,
        config: &BackupConfig,
        wear: Wear,
        now: Now,
        uptime: Duration,
    ) -> Self {
        let device = file.as_deref().map_or(DeviceKind::Unknown, |file| device_kind(machine.sys(), file));
        let backups = file.as_deref().map(|file| backup::folder(config, file));
        let newest = match (&backups, &file) {
            (Some(folder), Some(file)) => backup::list(folder, file).unwrap_or_default().pop(),
            _ => None,
        };
        Self {
            machine,
            file,
            backups,
            device,
            commit_window: Duration::ZERO,
            recovered: None,
            wear: Mutex::new(wear),
            space: Mutex::default(),
            full: AtomicBool::new(false),
            space_exhausted: Notify::new(),
            backup: Mutex::new(newest),
            backup_turn: Mutex::default(),
            backing_up: tokio::sync::Mutex::new(()),
            clock: Mutex::new(ClockWatch::new(now.wall, uptime)),
            retention: Mutex::default(),
            problems: Mutex::default(),
            held: Mutex::default(),
            checked_at: Mutex::default(),
        }
    }

    /// Holds the lock until [`Self::release`].
    pub(crate) fn hold(&self, held: Option<DatabaseLock>) {
        *lock(&self.held) = held;
    }

    /// The reason why the database's directory is not protected from other users, if it is not.
    pub(crate) fn open_folder(&self) -> Option<String> {
        let file = self.file.as_deref().filter(|_| lock(&self.held).is_some())?;
        super::open_folder(file)
    }

    /// Releases the lock: the database is closed.
    pub(crate) fn release(&self) {
        lock(&self.held).take();
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Returns the previous value.
    pub(crate) fn set_full(&self, full: bool) -> bool {
        self.full.swap(full, Ordering::Relaxed)
    }

    pub(crate) fn problems(&self) -> Problems {
        lock(&self.problems).clone()
    }

    /// Sets or clears the problem of a subject; returns whether it changed.
    pub(crate) fn set_problem(
        &self,
        of: impl FnOnce(&mut Problems) -> &mut Option<String>,
        problem: Option<String>,
    ) -> bool {
        let mut problems = lock(&self.problems);
        let current = of(&mut problems);
        let changed = *current != problem;
        *current = problem;
        changed
    }

    /// Like [`Self::set_problem`]; a new problem is also logged, with its cause.
    pub(crate) fn report_problem(
        &self,
        of: impl FnOnce(&mut Problems) -> &mut Option<String>,
        problem: Option<String>,
        cause: Option<&(dyn std::error::Error + 'static)>,
    ) -> bool {
        let changed = self.set_problem(of, problem.clone());
        if let Some(problem) = problem.filter(|_| changed) {
            tracing::error!(cause, "{problem}");
        }
        changed
    }
}
