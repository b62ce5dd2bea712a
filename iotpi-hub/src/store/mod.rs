//! The cellar: what the hub keeps. One object-safe trait named by intent, one folder per engine.
//!
//! Time is always an argument, so that an engine needs no clock and a test can set it. Deliberately absent: SQL (only
//! `store/<engine>/` knows it), permissions and events (the rooms' business, `ops/`).
//!
//! Wall time is what people see; it may jump. Deadlines (of commands, leases, sessions) are kept in *steady* time: the
//! wall time at which the hub started plus the monotonic time since, [`Steady`].

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
pub use iotpi_core::Page;
use iotpi_core::{
    Bucket, Command, CommandId, CommandReport, LeasedCommand, Manifest, ModuleId, NewCommand, Reading,
    SensorType, Timestamp, Unit, UserName,
};
use serde_json::{Map, Value};

use crate::auth::Role;

#[cfg(feature = "testing")]
pub mod contract;
mod cursor;
mod sqlite;

/// The engine's answer.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A moment of the hub's steady time: does not jump while the hub runs, and is close to wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steady(pub Timestamp);

/// The moment something happens, on both of the hub's clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// What people call the time.
    pub wall: Timestamp,
    /// What deadlines are measured in.
    pub steady: Steady,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(&'static str),
    /// The thing has moved on, is taken, or exists already; one sentence.
    #[error("{0}")]
    Conflict(String),
    /// The series keeps another unit than the reading came in. `index` is the reading's place among those delivered.
    #[error("the series keeps {unit}")]
    OtherUnit {
        /// Which of the delivered readings.
        index: usize,
        /// The unit the series keeps.
        unit: Unit,
    },
    /// A stated limit is reached.
    #[error("{what}: the limit is {limit}")]
    LimitReached {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// The cursor is none of this list's.
    #[error("the cursor is not one this list gave out")]
    BadCursor,
    /// The disk is full.
    #[error("the disk is full")]
    Full(#[source] BoxError),
    /// The engine is closed or cannot be reached.
    #[error("the store is closed")]
    Closed,
    /// The engine failed.
    #[error("the store failed: {context}")]
    Engine {
        /// What was being done.
        context: &'static str,
        /// What the engine said.
        #[source]
        source: BoxError,
    },
    /// The URL given to [`open`] names no engine, or is not one.
    #[error("`{0}` is not a store URL: sqlite:///path/to/file.db")]
    BadUrl(String),
}

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// 1 to 1,000.
    pub limit: u32,
    /// The last page's [`Page::next`].
    pub cursor: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: 100, cursor: None }
    }
}

/// Names a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// Whose.
    pub module_id: ModuleId,
    /// What it measures.
    pub sensor: SensorType,
}

/// Which records of a sensor type, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingQuery {
    /// The `{type}`.
    pub sensor: SensorType,
    /// Only this module's.
    pub module_id: Option<ModuleId>,
    /// From this moment on, inclusive.
    pub since: Option<Timestamp>,
    /// Up to this moment, exclusive.
    pub until: Option<Timestamp>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

/// A module as it is kept: its health is derived, never stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleRecord {
    /// Its id.
    pub id: ModuleId,
    /// What it said of itself; nothing when it never registered.
    pub manifest: Option<Manifest>,
    /// When it was last heard, as far as it was [`touch`](Store::touch)ed.
    pub last_seen_at: Option<Timestamp>,
    /// When the hub first knew of it.
    pub registered_at: Timestamp,
    /// The last state it reported, and when.
    pub state: Option<(Map<String, Value>, Timestamp)>,
}

/// A command to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandOrder {
    /// Made by the room.
    pub id: CommandId,
    /// For whom.
    pub module_id: ModuleId,
    /// What to do.
    pub command: NewCommand,
    /// How long it lives.
    pub time_to_live: Duration,
    /// By whom.
    pub issued_by: UserName,
    /// Whether it may be handed over at most once.
    pub hazardous: bool,
}

/// How commands are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// How long a claim holds.
    pub lease: Duration,
    /// After so many claims without an outcome a command is dead.
    pub max_attempts: u32,
}

/// What a sweep of the commands changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sweep {
    /// The commands that entered a state: expired, dead, or back in the queue.
    pub changed: Vec<Command>,
    /// When the next one will be due, if nothing happens before.
    pub next: Option<Steady>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The name to log in with.
    pub name: UserName,
    /// What they may.
    pub role: Role,
    /// The argon2id hash, in PHC form.
    pub password_hash: String,
}

/// The SHA-256 of a secret: what is kept of session ids and tokens.
pub type SecretHash = [u8; 32];

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Names it.
    pub id: String,
    /// What it is for.
    pub name: UserName,
    /// What it may.
    pub role: Role,
    /// The one module a `module` token speaks for.
    pub module_id: Option<ModuleId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the hour.
    pub last_used_at: Option<Timestamp>,
}

/// What a hub keeps, whichever engine keeps it.
///
/// A write that returned `Ok` survives a power cut. Lists are ordered as their methods say and paged by opaque cursors.
///
/// # Errors
/// Every method: [`StoreError::Engine`], [`StoreError::Full`], [`StoreError::Closed`]; others where named. Lists:
/// [`StoreError::BadCursor`].
///
/// # Cancel safety
/// Every method: a cancelled write happened wholly or not at all.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    // ---- readings ----

    /// Keeps readings, all or none; unknown modules and series are created (`now` as their first moment), at most
    /// `max_series` in all. Returns the ids of modules that were new.
    ///
    /// Errors: [`StoreError::OtherUnit`] when a series keeps another unit; [`StoreError::LimitReached`].
    async fn record(&self, readings: Vec<Reading>, max_series: u64, now: Now) -> Result<Vec<ModuleId>>;

    /// The unit each series keeps, in no order.
    async fn series_units(&self) -> Result<Vec<(SeriesKey, Unit)>>;

    /// Records by time (then arrival), newest first unless `ascending`.
    async fn readings(&self, query: &ReadingQuery, page: &PageRequest) -> Result<Page<Reading>>;

    /// Records summed up over stretches of `width` (a divisor of a day; UTC-aligned), one row a series and stretch,
    /// ordered by stretch, then module, whatever `ascending` says; stretches without a record are left out. All four
    /// aggregates are filled.
    async fn buckets(
        &self,
        query: &ReadingQuery,
        width: Duration,
        page: &PageRequest,
    ) -> Result<Page<Bucket>>;

    /// Every series as its newest record, by module id, then type.
    async fn newest(&self, module_id: Option<&ModuleId>, page: &PageRequest) -> Result<Page<Reading>>;

    /// The newest `count` records of one series, oldest first.
    async fn recent(&self, series: &SeriesKey, count: u32) -> Result<Vec<Reading>>;

    // ---- modules ----

    /// Keeps a module's manifest; creates the module if need be.
    async fn register(&self, id: &ModuleId, manifest: &Manifest, now: Now) -> Result<ModuleRecord>;

    /// Keeps a module's state; creates the module if need be.
    async fn report_state(&self, id: &ModuleId, state: &Map<String, Value>, now: Now)
    -> Result<ModuleRecord>;

    /// Keeps when modules were last heard; unknown ones are created. The last call wins, also over a later time: the
    /// clock was set back since.
    async fn touch(&self, seen: &[(ModuleId, Timestamp)], now: Now) -> Result<()>;

    /// One module.
    async fn module(&self, id: &ModuleId) -> Result<Option<ModuleRecord>>;

    /// Modules by id.
    async fn modules(&self, page: &PageRequest) -> Result<Page<ModuleRecord>>;

    /// Removes a module with its series, records, commands and tokens.
    ///
    /// Errors: [`StoreError::NotFound`].
    async fn remove_module(&self, id: &ModuleId) -> Result<()>;

    // ---- commands ----

    /// Keeps a command, queued.
    ///
    /// Errors: [`StoreError::NotFound`] (the module); [`StoreError::LimitReached`] when `max_waiting` commands of the
    /// module are not final; [`StoreError::Conflict`] when there is a command of that id.
    async fn submit(&self, order: &CommandOrder, max_waiting: u64, now: Now) -> Result<Command>;

    /// Leases the module's oldest commands, up to `limit`, each with its own fresh lease id; nothing while one of
    /// the module's commands is leased. Overdue ones are never handed over.
    async fn claim(
        &self,
        module_id: &ModuleId,
        limit: u32,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Vec<LeasedCommand>>;

    /// Keeps how a command ended. The same report twice is one.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] when the lease is not the command's present one.
    async fn finish(&self, module_id: &ModuleId, report: &CommandReport, now: Now) -> Result<Command>;

    /// Takes back a command that is still queued.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] when it is no longer queued.
    async fn cancel(&self, id: &CommandId, now: Now) -> Result<Command>;

    /// Expires what outlived its time; puts back what outlived its lease, or makes it dead after `max_attempts` claims
    /// or when it is hazardous. While a lease holds, its command is left alone, even past its time: it may be done
    /// already, and the outcome counts. `changed` is in order of submission.
    async fn sweep_commands(&self, terms: LeaseTerms, now: Now) -> Result<Sweep>;

    /// After a start: no deadline may lie further ahead than the command's whole time to live, no lease further than a
    /// whole lease, whatever the clock did meanwhile.
    async fn clamp_deadlines(&self, terms: LeaseTerms, now: Now) -> Result<()>;

    /// One command.
    async fn command(&self, id: &CommandId) -> Result<Option<Command>>;

    /// A module's commands, newest first.
    async fn commands(&self, module_id: &ModuleId, page: &PageRequest) -> Result<Page<Command>>;

    // ---- people, sessions, tokens ----

    /// Keeps the first user.
    ///
    /// Errors: [`StoreError::Conflict`] when there is one already.
    async fn add_first_user(&self, user: &UserRecord, now: Now) -> Result<()>;

    /// Whether anybody can log in.
    async fn has_users(&self) -> Result<bool>;

    /// One person.
    async fn user(&self, name: &UserName) -> Result<Option<UserRecord>>;

    /// Keeps a session until `ends`.
    ///
    /// Errors: [`StoreError::NotFound`] (the user).
    async fn open_session(&self, secret: &SecretHash, user: &UserName, ends: Steady, now: Now) -> Result<()>;

    /// Whose session it is, if it has not ended.
    async fn session(&self, secret: &SecretHash, now: Now) -> Result<Option<UserRecord>>;

    /// Ends a session; one that is unknown is ended already.
    async fn end_session(&self, secret: &SecretHash) -> Result<()>;

    /// Keeps a token. The record's `last_used_at` is ignored.
    ///
    /// Errors: [`StoreError::Conflict`] when the name is taken.
    async fn add_token(&self, secret: &SecretHash, token: &TokenRecord) -> Result<()>;

    /// The token of that secret.
    async fn token(&self, secret: &SecretHash) -> Result<Option<TokenRecord>>;

    /// Keeps that a token was used, to the hour; one that is unknown was revoked meanwhile.
    async fn touch_token(&self, id: &str, now: Now) -> Result<()>;

    /// Tokens by name.
    async fn tokens(&self, page: &PageRequest) -> Result<Page<TokenRecord>>;

    /// Revokes a token.
    ///
    /// Errors: [`StoreError::NotFound`].
    async fn revoke_token(&self, id: &str) -> Result<()>;

    /// The hub's own secret of that name: `fresh` the first time, ever after what was kept then.
    async fn hub_secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]>;

    // ---- the engine ----

    /// Whether it takes writes. Writes nothing itself.
    async fn check(&self) -> Result<()>;

    /// Becomes ready when the engine has failed for good, and says why: from then on every write is refused, because what
    /// is on the disk may not be what was written. Nothing mends it but opening the store anew, which recovers what was
    /// acknowledged: a program that serves a store ends here. Never ready otherwise.
    async fn failed(&self) -> String;

    /// Finishes what was begun and closes; later calls are [`StoreError::Closed`].
    async fn close(&self) -> Result<()>;
}

/// Opens a store by the scheme of its URL: `sqlite:///var/lib/iotpi/hub.db`, `sqlite://relative/hub.db`,
/// `sqlite::memory:`. The path is taken as it stands. The file (mode 0600), its folder and its tables are made when
/// missing.
///
/// # Errors
/// [`StoreError::BadUrl`]; [`StoreError::Engine`] when the engine cannot open it.
pub async fn open(url: &str) -> Result<Arc<dyn Store>> {
    match url.split_once(':') {
        Some(("sqlite", rest)) => Ok(Arc::new(sqlite::Sqlite::open(rest).await?)),
        _ => Err(StoreError::BadUrl(url.to_owned())),
    }
}
