//! A simulated disk in memory. After a power cut, writes that were not synced may be lost, torn or reordered.
//! The n-th operation can fail, and the disk can be full.
//!
//! The model: a file has the bytes that programs see and the bytes that are durable. The pending changes are
//! the writes and truncations since the last sync, which makes them durable. A **failed** sync does not: the
//! kernel may drop the pages it could not write and mark them clean, so those changes never become durable,
//! whatever a later sync returns. Names are like bytes: programs see their creation and removal at once, and
//! a sync of the folder makes them durable, which SQLite does with the first sync of a new journal. A sector
//! of 512 bytes is written completely or not at all, and a write changes no other bytes. SQLite assumes both
//! of Linux.
//!
//! Deliberately absent: bit rot, which `corruption.rs` tests, and locks between processes.

use crate::support::seeded_random::SeededRandom;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const SECTOR: usize = 512;

/// An operation on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    Open,
    Read,
    Write,
    Truncate,
    Sync,
    Delete,
    /// The index of the WAL grows.
    Grow,
}

/// Why an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskError {
    /// An I/O error.
    Io,
    /// The power was cut before the operation.
    NoPower,
    /// The disk is full.
    Full,
}

/// An injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power is cut at this operation. All later ones fail.
    PowerCut { at: u64 },
    /// The first `times` operations from this one on fail. [`DiskError::Full`] fails only operations that
    /// need space.
    Error { at: u64, times: u64, error: DiskError },
}

/// The index of a file.
pub type Node = usize;

/// The disk of one folder.
#[derive(Debug)]
pub struct Disk {
    pub folder: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

/// All bytes of all files, by name.
pub type Image = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, Node>,
    durable_names: BTreeMap<String, Node>,
    name_changes: Vec<NameChange>,
    nodes: Vec<Content>,
    /// Open files.
    open: usize,
    operation_count: u64,
    operations: Vec<Operation>,
    fault: Option<Fault>,
    failed_operation: Option<Operation>,
    powered_off: bool,
    capacity: Option<usize>,
    blocked: bool,
    waiting: usize,
}

#[derive(Debug, Clone)]
enum NameChange {
    Created(String, Node),
    Removed(String),
}

#[derive(Default)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// The file was created and its folder was not synced yet.
    new: bool,
}

#[derive(Debug, Clone)]
struct Change {
    kind: ChangeKind,
    /// A sync failed, so no later sync makes this change durable.
    sync_failed: bool,
}

#[derive(Debug, Clone)]
enum ChangeKind {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { to: usize },
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {} pending changes", self.current.len(), self.pending.len())
    }
}

impl Disk {
    /// A disk with these files, all of them durable.
    pub fn new(folder: PathBuf, image: &Image) -> Self {
        Self { folder, state: Mutex::new(State::of(image)), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- functions for the test ----

    /// All operations so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.lock().operations.clone()
    }

    /// Injects a fault. Its operation number counts from now on: the next operation is 1.
    pub fn inject(&self, fault: Fault) {
        let mut state = self.lock();
        let now = state.operation_count;
        state.failed_operation = None;
        state.fault = Some(match fault {
            Fault::PowerCut { at } => Fault::PowerCut { at: now + at },
            Fault::Error { at, times, error } => Fault::Error { at: now + at, times, error },
        });
    }

    /// The first operation that failed because of the fault.
    pub fn failed_operation(&self) -> Option<Operation> {
        self.lock().failed_operation
    }

    /// Sets how many bytes fit on the disk; `None` is no limit.
    pub fn set_capacity(&self, capacity: Option<usize>) {
        self.lock().capacity = capacity;
    }

    /// Whether the power was cut.
    pub fn is_powered_off(&self) -> bool {
        self.lock().powered_off
    }

    /// Blocks all operations until [`Self::release`].
    pub fn block(&self) {
        self.lock().blocked = true;
    }

    /// Waits up to `timeout` for a blocked operation. Returns whether there is one.
    pub fn wait_for_blocked(&self, timeout: Duration) -> bool {
        let state = self.lock();
        let is_missing = |state: &mut State| state.waiting == 0 && !state.powered_off;
        let (state, _) = self
            .changed
            .wait_timeout_while(state, timeout, is_missing)
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting > 0
    }

    /// Lets the blocked operations continue.
    pub fn release(&self) {
        self.lock().blocked = false;
        self.changed.notify_all();
    }

    /// The files as programs see them.
    pub fn image(&self) -> Image {
        let state = self.lock();
        state.names.iter().map(|(name, node)| (name.clone(), state.nodes[*node].current.clone())).collect()
    }

    /// Cuts the power, unless it was cut before, and restores it. All that is left is durable.
    ///
    /// # Panics
    /// If a file is still open after 10 s.
    pub fn power_cycle(&self, random: &mut SeededRandom) {
        let mut state = self.wait_until_closed();
        let image = state.after_power_cut(random);
        *state = State::of(&image);
    }

    /// The process ended and the kernel did not: programs see every write, and the pending ones stay pending.
    pub fn restart(&self) {
        let mut state = self.wait_until_closed();
        state.fault = None;
        state.powered_off = false;
    }

    fn wait_until_closed(&self) -> MutexGuard<'_, State> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut state = self.lock();
        while state.open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} files are still open", state.open);
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    // ---- functions for SQLite ----

    /// Opens or creates a file. The hub creates its database file before SQLite opens it and not through
    /// SQLite, so the main file always exists.
    pub fn open(&self, name: &str, create: bool, journal: bool) -> Result<Node, DiskError> {
        let mut state = self.begin(Operation::Open)?;
        let node = match state.names.get(name) {
            Some(node) => *node,
            None => {
                let node = state.nodes.len();
                state.nodes.push(Content { new: create && journal, ..Content::default() });
                state.names.insert(name.to_owned(), node);
                state.name_changes.push(NameChange::Created(name.to_owned(), node));
                node
            }
        };
        state.open += 1;
        Ok(node)
    }

    pub fn close(&self) {
        self.lock().open -= 1;
        self.changed.notify_all();
    }

    pub fn exists(&self, name: &str) -> bool {
        self.lock().names.contains_key(name)
    }

    pub fn is_empty(&self, name: &str) -> bool {
        let state = self.lock();
        state.names.get(name).is_none_or(|node| state.nodes[*node].current.is_empty())
    }

    pub fn delete(&self, name: &str, sync_folder: bool) -> Result<bool, DiskError> {
        let mut state = self.begin(Operation::Delete)?;
        let existed = state.names.remove(name).is_some();
        if existed {
            state.name_changes.push(NameChange::Removed(name.to_owned()));
        }
        if sync_folder {
            state.sync_folder();
        }
        Ok(existed)
    }

    /// Reads from `at` into the buffer. Returns the number of bytes.
    pub fn read(&self, node: Node, at: usize, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let state = self.begin(Operation::Read)?;
        let current = &state.nodes[node].current;
        let bytes = current.get(at..).unwrap_or_default();
        let bytes = &bytes[..bytes.len().min(buffer.len())];
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    pub fn write(&self, node: Node, at: usize, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = match self.begin(Operation::Write) {
            Ok(state) => state,
            Err(DiskError::NoPower) => return Err(DiskError::NoPower),
            Err(error) => {
                // A part may have been written: any part of the last write before a power cut, the beginning
                // of a write that failed.
                let mut state = self.lock();
                let arrived = if state.powered_off { bytes.len() } else { bytes.len() / 2 / SECTOR * SECTOR };
                state.write(node, at, &bytes[..arrived]);
                return Err(error);
            }
        };
        let grows = (at + bytes.len()).saturating_sub(state.nodes[node].current.len());
        let free = state.capacity.map(|capacity| capacity.saturating_sub(state.size()));
        if let Some(free) = free.filter(|free| *free < grows) {
            let fits = (bytes.len() - grows.min(bytes.len()) + free).min(bytes.len()) / SECTOR * SECTOR;
            state.write(node, at, &bytes[..fits]);
            return Err(DiskError::Full);
        }
        state.write(node, at, bytes);
        Ok(())
    }

    pub fn truncate(&self, node: Node, to: usize) -> Result<(), DiskError> {
        let mut state = self.begin(Operation::Truncate)?;
        let content = &mut state.nodes[node];
        let change = Change { kind: ChangeKind::Truncate { to }, sync_failed: false };
        change.apply(&mut content.current);
        content.pending.push(change);
        Ok(())
    }

    pub fn sync(&self, node: Node) -> Result<(), DiskError> {
        match self.begin(Operation::Sync) {
            Ok(mut state) => {
                let content = &mut state.nodes[node];
                for change in std::mem::take(&mut content.pending) {
                    if change.sync_failed {
                        content.pending.push(change);
                    } else {
                        change.apply(&mut content.durable);
                    }
                }
                if std::mem::take(&mut content.new) {
                    state.sync_folder();
                }
                Ok(())
            }
            Err(error) => {
                let mut state = self.lock();
                if !state.powered_off {
                    state.nodes[node].pending.iter_mut().for_each(|change| change.sync_failed = true);
                }
                Err(error)
            }
        }
    }

    pub fn len(&self, node: Node) -> Result<usize, DiskError> {
        let state = self.lock();
        if state.powered_off { Err(DiskError::NoPower) } else { Ok(state.nodes[node].current.len()) }
    }

    /// Reserves space for the growth of the index of the WAL, which is in memory.
    pub fn grow(&self, bytes: usize) -> Result<(), DiskError> {
        let state = self.begin(Operation::Grow)?;
        match state.capacity {
            Some(capacity) if state.size() + bytes > capacity => Err(DiskError::Full),
            _ => Ok(()),
        }
    }

    /// Counts an operation, blocks it, and lets it fail because of the injected fault.
    fn begin(&self, operation: Operation) -> Result<MutexGuard<'_, State>, DiskError> {
        let mut state = self.lock();
        state.waiting += 1;
        self.changed.notify_all();
        while state.blocked && !state.powered_off {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        if state.powered_off {
            return Err(DiskError::NoPower);
        }
        state.operation_count += 1;
        state.operations.push(operation);
        let now = state.operation_count;
        let error = match state.fault {
            Some(Fault::PowerCut { at }) if now >= at => {
                state.powered_off = true;
                Some(DiskError::Io)
            }
            Some(Fault::Error { at, times: times @ 1.., error })
                if now >= at
                    && (error != DiskError::Full
                        || matches!(operation, Operation::Write | Operation::Grow)) =>
            {
                state.fault = Some(Fault::Error { at, times: times - 1, error });
                Some(error)
            }
            _ => None,
        };
        match error {
            None => Ok(state),
            Some(error) => {
                state.failed_operation.get_or_insert(operation);
                self.changed.notify_all();
                Err(error)
            }
        }
    }
}

impl State {
    fn of(image: &Image) -> Self {
        let mut state = Self::default();
        for (name, bytes) in image {
            state.names.insert(name.clone(), state.nodes.len());
            state.nodes.push(Content {
                current: bytes.clone(),
                durable: bytes.clone(),
                ..Content::default()
            });
        }
        state.durable_names = state.names.clone();
        state
    }

    fn size(&self) -> usize {
        self.names.values().map(|node| self.nodes[*node].current.len()).sum()
    }

    fn write(&mut self, node: Node, at: usize, bytes: &[u8]) {
        let content = &mut self.nodes[node];
        let change = Change { kind: ChangeKind::Write { at, bytes: bytes.to_vec() }, sync_failed: false };
        change.apply(&mut content.current);
        content.pending.push(change);
    }

    fn sync_folder(&mut self) {
        for change in self.name_changes.drain(..) {
            change.apply(&mut self.durable_names);
        }
    }

    fn after_power_cut(&self, random: &mut SeededRandom) -> Image {
        let mut names = self.durable_names.clone();
        // Every file system journals changes of names: a prefix of them is durable.
        let arrived = random.index(self.name_changes.len() + 1);
        self.name_changes[..arrived].iter().for_each(|change| change.apply(&mut names));
        // In some power cuts almost all pending writes are lost, in others almost none.
        let lost_in_8 = random.below(9);
        let mut left = Image::new();
        for (name, node) in names {
            left.insert(name, self.nodes[node].after_power_cut(lost_in_8, random));
        }
        left
    }
}

impl Content {
    fn after_power_cut(&self, lost_in_8: u64, random: &mut SeededRandom) -> Vec<u8> {
        let mut left = self.durable.clone();
        for change in &self.pending {
            if random.below(8) < lost_in_8 {
                continue;
            }
            match &change.kind {
                ChangeKind::Write { at, bytes } if random.one_in(3) => {
                    // A torn write: each of its sectors was written or not.
                    let (mut from, end) = (*at, at + bytes.len());
                    while from < end {
                        let to = end.min((from / SECTOR + 1) * SECTOR);
                        if random.one_in(2) {
                            write_at(&mut left, from, &bytes[from - at..to - at], random.one_in(2));
                        }
                        from = to;
                    }
                }
                ChangeKind::Write { at, bytes } => write_at(&mut left, *at, bytes, random.one_in(2)),
                ChangeKind::Truncate { to } => left.truncate(*to),
            }
        }
        left
    }
}

/// Writes bytes. A gap before them is filled with zeros, or with old content of the disk.
fn write_at(into: &mut Vec<u8>, at: usize, bytes: &[u8], zeros: bool) {
    let end = at + bytes.len();
    if into.len() < end {
        into.resize(at.max(into.len()), if zeros { 0 } else { 0xa5 });
        into.resize(end, 0);
    }
    into[at..end].copy_from_slice(bytes);
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match &self.kind {
            ChangeKind::Write { at, bytes } => write_at(to, *at, bytes, true),
            ChangeKind::Truncate { to: len } => to.truncate(*len),
        }
    }
}

impl NameChange {
    fn apply(&self, to: &mut BTreeMap<String, Node>) {
        match self {
            Self::Created(name, node) => to.insert(name.clone(), *node),
            Self::Removed(name) => to.remove(name),
        };
    }
}
