//! A disk in memory that forgets, as disks do: what was written and not yet synced may be lost, torn or there
//! in another order after a power cut; the n-th operation may fail; there may be no room.
//!
//! The model. A file has the bytes programs see and the bytes the medium is sure to have; writes and
//! truncations since the last sync lie between them. A sync makes them sure. A **failed** sync does not: the
//! kernel may drop what it could not write and call it clean, so those changes are never sure again, whatever
//! later syncs say. Names are like bytes: made and removed at once for programs, sure after a sync of the
//! folder, which SQLite does with the first sync of a new journal. Sectors of 512 bytes are written whole or
//! not at all, and a write touches nothing beside itself (both are what SQLite assumes of Linux).
//!
//! Deliberately absent: bit rot (that is `mutate.rs`), and locks between processes.

use crate::support::seeded_random::SeededRandom;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const SECTOR: usize = 512;

/// What is done to the medium; each counts as one operation.
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

/// Why an operation was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// An I/O error.
    Io,
    /// There has been no power for a while: not even tried.
    Gone,
    /// No room.
    Full,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// With this operation the power goes; nothing works from then on.
    PowerCut { at: u64 },
    /// From this operation on, the first `times` fail. There is no room only for those that need some.
    Error { at: u64, times: u64, trouble: Trouble },
}

/// Names one open file of a disk.
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
    sure_names: BTreeMap<String, Node>,
    name_changes: Vec<NameChange>,
    nodes: Vec<Content>,
    /// Open files.
    open: usize,
    operations: u64,
    done: Vec<Operation>,
    fault: Option<Fault>,
    fault_met: Option<Operation>,
    dead: bool,
    capacity: Option<usize>,
    held: bool,
    waiting: usize,
}

#[derive(Debug, Clone)]
enum NameChange {
    Made(String, Node),
    Removed(String),
}

#[derive(Default)]
struct Content {
    seen: Vec<u8>,
    sure: Vec<u8>,
    unsure: Vec<Change>,
    /// Made, and its folder not yet synced.
    new: bool,
}

#[derive(Debug, Clone)]
struct Change {
    kind: ChangeKind,
    /// A sync failed over it: no later one makes it sure.
    given_up: bool,
}

#[derive(Debug, Clone)]
enum ChangeKind {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { to: usize },
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {} changes unsure", self.seen.len(), self.unsure.len())
    }
}

impl Disk {
    /// A disk with these files, all of them sure.
    pub fn new(folder: PathBuf, image: &Image) -> Self {
        Self { folder, state: Mutex::new(State::of(image)), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- the test's side ----

    /// Every operation so far.
    pub fn done(&self) -> Vec<Operation> {
        self.lock().done.clone()
    }

    /// Arranges for something to go wrong; operations are counted from now on, the next one is 1.
    pub fn arrange(&self, fault: Fault) {
        let mut state = self.lock();
        let now = state.operations;
        state.fault_met = None;
        state.fault = Some(match fault {
            Fault::PowerCut { at } => Fault::PowerCut { at: now + at },
            Fault::Error { at, times, trouble } => Fault::Error { at: now + at, times, trouble },
        });
    }

    /// The operation that met the fault first, if one did.
    pub fn fault_met(&self) -> Option<Operation> {
        self.lock().fault_met
    }

    /// How many bytes fit; nothing: as many as there are.
    pub fn set_capacity(&self, capacity: Option<usize>) {
        self.lock().capacity = capacity;
    }

    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// From now on whoever comes to the medium waits, until [`Self::release`].
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// Whether somebody waits. Waits for it, up to `patience`.
    pub fn somebody_waits(&self, patience: Duration) -> bool {
        let state = self.lock();
        let came = |state: &mut State| state.waiting == 0 && !state.dead;
        let (state, _) =
            self.changed.wait_timeout_while(state, patience, came).unwrap_or_else(PoisonError::into_inner);
        state.waiting > 0
    }

    /// Lets them through.
    pub fn release(&self) {
        self.lock().held = false;
        self.changed.notify_all();
    }

    /// What programs see: as if every write had arrived.
    pub fn image(&self) -> Image {
        let state = self.lock();
        state.names.iter().map(|(name, node)| (name.clone(), state.nodes[*node].seen.clone())).collect()
    }

    /// The power goes now, if it has not gone before, and comes back: what is left, is sure.
    ///
    /// # Panics
    /// When a file is still open after 10 s: what was opened before must be closed first.
    pub fn power_cycle(&self, random: &mut SeededRandom) {
        let mut state = self.closed();
        let image = state.left_by_a_power_cut(random);
        *state = State::of(&image);
    }

    /// The process ended and the kernel lives on: everything it wrote is seen, and as unsure as before.
    pub fn restart(&self) {
        let mut state = self.closed();
        state.fault = None;
        state.dead = false;
    }

    fn closed(&self) -> MutexGuard<'_, State> {
        let until = Instant::now() + Duration::from_secs(10);
        let mut state = self.lock();
        while state.open > 0 {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} files are still open", state.open);
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    // ---- SQLite's side ----

    /// Opens or makes a file. The hub makes its database file before SQLite opens it, and not through SQLite:
    /// so a `main` file is always there.
    pub fn open(&self, name: &str, create: bool, journal: bool) -> Result<Node, Trouble> {
        let mut state = self.begin(Operation::Open)?;
        let node = match state.names.get(name) {
            Some(node) => *node,
            None => {
                let node = state.nodes.len();
                state.nodes.push(Content { new: create && journal, ..Content::default() });
                state.names.insert(name.to_owned(), node);
                state.name_changes.push(NameChange::Made(name.to_owned(), node));
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
        state.names.get(name).is_none_or(|node| state.nodes[*node].seen.is_empty())
    }

    pub fn delete(&self, name: &str, sync_folder: bool) -> Result<bool, Trouble> {
        let mut state = self.begin(Operation::Delete)?;
        let was_there = state.names.remove(name).is_some();
        if was_there {
            state.name_changes.push(NameChange::Removed(name.to_owned()));
        }
        if sync_folder {
            state.sync_folder();
        }
        Ok(was_there)
    }

    /// Fills `buffer` from `at`; says how many bytes there were.
    pub fn read(&self, node: Node, at: usize, buffer: &mut [u8]) -> Result<usize, Trouble> {
        let state = self.begin(Operation::Read)?;
        let seen = &state.nodes[node].seen;
        let there = seen.get(at..).unwrap_or_default();
        let there = &there[..there.len().min(buffer.len())];
        buffer[..there.len()].copy_from_slice(there);
        Ok(there.len())
    }

    pub fn write(&self, node: Node, at: usize, bytes: &[u8]) -> Result<(), Trouble> {
        let mut state = match self.begin(Operation::Write) {
            Ok(state) => state,
            Err(Trouble::Gone) => return Err(Trouble::Gone),
            Err(trouble) => {
                // Part of it may have arrived: of the last write before a power cut any part, of a failed one
                // its beginning.
                let mut state = self.lock();
                let arrived = if state.dead { bytes.len() } else { bytes.len() / 2 / SECTOR * SECTOR };
                state.write(node, at, &bytes[..arrived]);
                return Err(trouble);
            }
        };
        let grows = (at + bytes.len()).saturating_sub(state.nodes[node].seen.len());
        let room = state.capacity.map(|capacity| capacity.saturating_sub(state.size()));
        if let Some(room) = room.filter(|room| *room < grows) {
            let fits = (bytes.len() - grows.min(bytes.len()) + room).min(bytes.len()) / SECTOR * SECTOR;
            state.write(node, at, &bytes[..fits]);
            return Err(Trouble::Full);
        }
        state.write(node, at, bytes);
        Ok(())
    }

    pub fn truncate(&self, node: Node, to: usize) -> Result<(), Trouble> {
        let mut state = self.begin(Operation::Truncate)?;
        let content = &mut state.nodes[node];
        let change = Change { kind: ChangeKind::Truncate { to }, given_up: false };
        change.apply(&mut content.seen);
        content.unsure.push(change);
        Ok(())
    }

    pub fn sync(&self, node: Node) -> Result<(), Trouble> {
        match self.begin(Operation::Sync) {
            Ok(mut state) => {
                let content = &mut state.nodes[node];
                for change in std::mem::take(&mut content.unsure) {
                    if change.given_up {
                        content.unsure.push(change);
                    } else {
                        change.apply(&mut content.sure);
                    }
                }
                if std::mem::take(&mut content.new) {
                    state.sync_folder();
                }
                Ok(())
            }
            Err(trouble) => {
                let mut state = self.lock();
                if !state.dead {
                    state.nodes[node].unsure.iter_mut().for_each(|change| change.given_up = true);
                }
                Err(trouble)
            }
        }
    }

    pub fn len(&self, node: Node) -> Result<usize, Trouble> {
        let state = self.lock();
        if state.dead { Err(Trouble::Gone) } else { Ok(state.nodes[node].seen.len()) }
    }

    /// The index of the WAL, which lives in memory, wants to grow by so many bytes.
    pub fn grow(&self, bytes: usize) -> Result<(), Trouble> {
        let state = self.begin(Operation::Grow)?;
        match state.capacity {
            Some(capacity) if state.size() + bytes > capacity => Err(Trouble::Full),
            _ => Ok(()),
        }
    }

    /// Counts an operation, holds it up or lets it fail as arranged.
    fn begin(&self, operation: Operation) -> Result<MutexGuard<'_, State>, Trouble> {
        let mut state = self.lock();
        state.waiting += 1;
        self.changed.notify_all();
        while state.held && !state.dead {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        if state.dead {
            return Err(Trouble::Gone);
        }
        state.operations += 1;
        state.done.push(operation);
        let now = state.operations;
        let trouble = match state.fault {
            Some(Fault::PowerCut { at }) if now >= at => {
                state.dead = true;
                Some(Trouble::Io)
            }
            Some(Fault::Error { at, times: times @ 1.., trouble })
                if now >= at
                    && (trouble != Trouble::Full
                        || matches!(operation, Operation::Write | Operation::Grow)) =>
            {
                state.fault = Some(Fault::Error { at, times: times - 1, trouble });
                Some(trouble)
            }
            _ => None,
        };
        match trouble {
            None => Ok(state),
            Some(trouble) => {
                state.fault_met.get_or_insert(operation);
                self.changed.notify_all();
                Err(trouble)
            }
        }
    }
}

impl State {
    fn of(image: &Image) -> Self {
        let mut state = Self::default();
        for (name, bytes) in image {
            state.names.insert(name.clone(), state.nodes.len());
            state.nodes.push(Content { seen: bytes.clone(), sure: bytes.clone(), ..Content::default() });
        }
        state.sure_names = state.names.clone();
        state
    }

    fn size(&self) -> usize {
        self.names.values().map(|node| self.nodes[*node].seen.len()).sum()
    }

    fn write(&mut self, node: Node, at: usize, bytes: &[u8]) {
        let content = &mut self.nodes[node];
        let change = Change { kind: ChangeKind::Write { at, bytes: bytes.to_vec() }, given_up: false };
        change.apply(&mut content.seen);
        content.unsure.push(change);
    }

    fn sync_folder(&mut self) {
        for change in self.name_changes.drain(..) {
            change.apply(&mut self.sure_names);
        }
    }

    fn left_by_a_power_cut(&self, random: &mut SeededRandom) -> Image {
        let mut names = self.sure_names.clone();
        // Changes of names are journalled by every file system there is: they arrive in order, up to
        // somewhere.
        let arrived = random.index(self.name_changes.len() + 1);
        self.name_changes[..arrived].iter().for_each(|change| change.apply(&mut names));
        // The fates of a whole cut: in some, hardly anything arrived, in some nearly everything.
        let lost_in_8 = random.below(9);
        let mut left = Image::new();
        for (name, node) in names {
            left.insert(name, self.nodes[node].left_by_a_power_cut(lost_in_8, random));
        }
        left
    }
}

impl Content {
    fn left_by_a_power_cut(&self, lost_in_8: u64, random: &mut SeededRandom) -> Vec<u8> {
        let mut left = self.sure.clone();
        for change in &self.unsure {
            if random.below(8) < lost_in_8 {
                continue;
            }
            match &change.kind {
                ChangeKind::Write { at, bytes } if random.one_in(3) => {
                    // Torn: each sector it touches has arrived or not.
                    let (mut from, end) = (*at, at + bytes.len());
                    while from < end {
                        let to = end.min((from / SECTOR + 1) * SECTOR);
                        if random.one_in(2) {
                            put(&mut left, from, &bytes[from - at..to - at], random.one_in(2));
                        }
                        from = to;
                    }
                }
                ChangeKind::Write { at, bytes } => put(&mut left, *at, bytes, random.one_in(2)),
                ChangeKind::Truncate { to } => left.truncate(*to),
            }
        }
        left
    }
}

/// Writes; a hole that comes into being is zeros or what lay there before anybody's time.
fn put(into: &mut Vec<u8>, at: usize, bytes: &[u8], zeros: bool) {
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
            ChangeKind::Write { at, bytes } => put(to, *at, bytes, true),
            ChangeKind::Truncate { to: len } => to.truncate(*len),
        }
    }
}

impl NameChange {
    fn apply(&self, to: &mut BTreeMap<String, Node>) {
        match self {
            Self::Made(name, node) => to.insert(name.clone(), *node),
            Self::Removed(name) => to.remove(name),
        };
    }
}
