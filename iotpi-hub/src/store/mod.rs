//! The cellar: what the hub keeps. One object-safe trait named by intent, one folder per engine.
//!
//! Time is always an argument, so that an engine needs no clock and a test can set it. Deliberately absent: SQL (only
//! `store/<engine>/` knows it), permissions and events (the rooms' business, `ops/`).
//!
//! Wall time is what people see; it may jump. Deadlines (of commands, leases, sessions) are kept in *steady* time: the
//! wall time at which the hub started plus the monotonic time since, [`Steady`].

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
pub use iotpi_core::Page;
use iotpi_core::{
    Bucket, Command, CommandId, CommandReport, Delivery, DeliveryAccount, Gap, LeaseId, LeasedCommand,
    Manifest, ModuleId, NewGap, Reading, SensorType, Timestamp, Unit, UserName,
};
use serde_json::{Map, Value};

use iotpi_core::Role;

mod commands;
#[cfg(feature = "testing")]
pub mod contract;
mod cursor;
mod error;
mod frame_index;
pub use commands::{CommandHistory, CommandOrder, LeaseTerms, SubmitOutcome, Sweep, WatchedIssuer};
pub(crate) use cursor::hex;
pub use error::{BoxError, StoreError};
pub use frame_index::{
    ClipQuery, FoundFrame, FrameIndexStore, FrameLocation, IndexedFrames, RecordingTotals, SegmentRecord,
};
mod maintenance;
mod sqlite;
pub use sqlite::recovery::backup_folder;
pub(crate) use sqlite::{RESTORED, recovery, with_suffix};

pub use maintenance::{
    BackedUp, DiskUse, Eviction, Expired, ExpiryPlan, ExpiryReport, Salvaged, SeriesExpiry, Verification,
};

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
    /// Up to this moment, inclusive: what a clock that ran ahead left behind comes later. It moves with the time and is no
    /// part of what a cursor is good for.
    pub not_after: Option<Timestamp>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

impl ReadingQuery {
    /// The time asked for, in microseconds since 1970-01-01 00:00 UTC.
    pub(crate) fn time_us(&self) -> std::ops::Range<i64> {
        let since = self.since.map_or(i64::MIN, Timestamp::as_micros);
        let until = self.until.map_or(i64::MAX, Timestamp::as_micros);
        since..until.min(end_us(self.not_after))
    }

    /// What a cursor is good for.
    pub(crate) fn listed(&self) -> Self {
        Self { not_after: None, ..self.clone() }
    }
}

/// The first microsecond behind `latest`.
pub(crate) fn end_us(latest: Option<Timestamp>) -> i64 {
    latest.map_or(i64::MAX, |latest| latest.as_micros().saturating_add(1))
}

/// What became of readings that were to be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Modules that were unknown before.
    pub new_modules: Vec<ModuleId>,
    /// Which of the readings, by their place, had been kept before.
    pub repeated: Vec<usize>,
}

/// Which gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GapQuery {
    /// Only this module's.
    pub module_id: Option<ModuleId>,
    /// Only those that took something of this type, or may have.
    pub sensor: Option<SensorType>,
    /// Only those that end at this moment or later.
    pub since: Option<Timestamp>,
    /// Only those that begin before this moment.
    pub until: Option<Timestamp>,
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
    /// How many of its numbered readings arrived; nothing when it does not number them.
    pub delivery: Option<Delivery>,
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

/// A person in a list, without the hash of their password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserListing {
    /// The name to log in with.
    pub name: UserName,
    /// What they may.
    pub role: Role,
    /// When they were added.
    pub created_at: Timestamp,
    /// When the newest of their sessions was opened; nothing when they have none.
    pub last_login_at: Option<Timestamp>,
    /// How many sessions they have.
    pub sessions: u64,
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
pub trait Store: FrameIndexStore + Send + Sync + fmt::Debug {
    // ---- readings ----

    /// Keeps readings, all or none; unknown modules and series are created (`now` as their first moment), at most
    /// `max_series` in all. A numbered one that was kept before is not kept again. When they were received is kept to the
    /// millisecond.
    ///
    /// Errors: [`StoreError::OtherUnit`] when a series keeps another unit; [`StoreError::LimitReached`].
    async fn record(&self, readings: Vec<Reading>, max_series: u64, now: Now) -> Result<Recorded>;

    /// Keeps that numbered readings of a module will never come; creates the module if need be. The same gap said again
    /// (by epoch and first number) replaces what was said before. Returns whether the module was new.
    async fn record_gap(&self, module_id: &ModuleId, gap: &NewGap, now: Now) -> Result<bool>;

    /// Gaps by the moment they begin, oldest first: those that touch the time asked for. A gap whose series nobody knows
    /// is in every series' list.
    async fn gaps(&self, query: &GapQuery, page: &PageRequest) -> Result<Page<Gap>>;

    /// How many of a module's numbered readings arrived; one that is unknown has numbered none.
    async fn delivery(&self, module_id: &ModuleId) -> Result<DeliveryAccount>;

    /// The unit each series keeps, in no order.
    async fn series_units(&self) -> Result<Vec<(SeriesKey, Unit)>>;

    /// Records by time, then module, then arrival; newest first unless `ascending`.
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

    /// Every series as its newest record, by module id, then type. With `latest`, records taken after that moment are not
    /// looked at: a clock that ran ahead left them behind, and they must not hide those that arrive now. A series with no
    /// other record is left out.
    async fn newest(
        &self,
        module_id: Option<&ModuleId>,
        latest: Option<Timestamp>,
        page: &PageRequest,
    ) -> Result<Page<Reading>>;

    /// The newest `count` records of one series, oldest first; with `latest`, of those taken up to that moment.
    async fn recent(&self, series: &SeriesKey, count: u32, latest: Option<Timestamp>)
    -> Result<Vec<Reading>>;

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

    /// Removes a module with its series, records, commands, tokens and the index of its recordings, whose files are doomed. When
    /// it answers, nothing of the module can be read any more, and a module of the same id begins anew; what is left of its
    /// records is deleted in steps that keep no other write waiting, also after a restart.
    ///
    /// Errors: [`StoreError::NotFound`].
    async fn remove_module(&self, id: &ModuleId) -> Result<()>;

    // ---- commands ----

    /// Keeps a command, queued. An order with the key of an earlier one of the same issuer's name, module and request
    /// keeps nothing and answers with that one's command. An absolute order cancels those of its action and target that
    /// are still queued; their places are free.
    ///
    /// Errors: [`StoreError::NotFound`] (the module); [`StoreError::LimitReached`] when `max_waiting` commands of the
    /// module are not final; [`StoreError::Conflict`] when there is a command of that id, or the key was another
    /// request's.
    async fn submit(&self, order: &CommandOrder, max_waiting: u64, now: Now) -> Result<SubmitOutcome>;

    /// Leases the module's oldest commands, up to `limit`, each with its own fresh lease id; nothing while one of
    /// the module's commands is leased. Overdue ones are never handed over.
    async fn claim(
        &self,
        module_id: &ModuleId,
        limit: u32,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Vec<LeasedCommand>>;

    /// Keeps that a claimed command is begun: it will not be handed over again, and its claim holds for a whole lease
    /// from now on. Saying it twice is fine.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] when the lease is not the command's present one, or it
    /// or the command's time is over, swept or not.
    async fn start(
        &self,
        module_id: &ModuleId,
        id: &CommandId,
        lease: &LeaseId,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Command>;

    /// Keeps how a command ended ([`CommandOutcome::Started`](iotpi_core::CommandOutcome::Started) is no end: it is
    /// refused as a conflict). The same report twice is one.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] when the lease is not the command's present one.
    async fn finish(&self, module_id: &ModuleId, report: &CommandReport, now: Now) -> Result<Command>;

    /// Takes back a command that is still queued.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] when it is no longer queued.
    async fn cancel(&self, id: &CommandId, now: Now) -> Result<Command>;

    /// Expires what outlived its time; puts back what outlived its lease, or makes it dead after `max_attempts` claims.
    /// What was begun when its lease ended is `unknown_outcome`. While a lease holds, its command is left alone, even
    /// past its time: it may be done already, and the outcome counts. `changed` is in order of submission.
    async fn sweep_commands(&self, terms: LeaseTerms, now: Now) -> Result<Sweep>;

    /// After a start: no deadline may lie further ahead than the command's whole time to live, no lease further than a
    /// whole lease, whatever the clock did meanwhile.
    async fn clamp_deadlines(&self, terms: LeaseTerms, now: Now) -> Result<()>;

    /// Forgets commands that ended, oldest first, in a step of bounded size; with them goes the key they are found
    /// by. Returns how many went: less than `step` when nothing is left to do. Age is measured from the end of the newest
    /// command or from now, whichever is earlier: a clock that jumps ahead makes none old by itself.
    async fn prune_commands(&self, history: CommandHistory, now: Now) -> Result<u64>;

    /// Whose presence a command of that module depends on, if there is such a command and it does.
    async fn watched_issuer(&self, module_id: &ModuleId, id: &CommandId) -> Result<Option<WatchedIssuer>>;

    /// One command.
    async fn command(&self, id: &CommandId) -> Result<Option<Command>>;

    /// A module's commands, newest first.
    async fn commands(&self, module_id: &ModuleId, page: &PageRequest) -> Result<Page<Command>>;

    // ---- people, sessions, tokens ----

    /// Keeps the first user.
    ///
    /// Errors: [`StoreError::Conflict`] when there is one already.
    async fn add_first_user(&self, user: &UserRecord, now: Now) -> Result<()>;

    /// Keeps a further user.
    ///
    /// Errors: [`StoreError::Conflict`] when the name is taken, by a user or a token.
    async fn add_user(&self, user: &UserRecord, now: Now) -> Result<()>;

    /// Replaces a user's password and ends all their sessions.
    ///
    /// Errors: [`StoreError::NotFound`].
    async fn set_password(&self, name: &UserName, password_hash: &str) -> Result<()>;

    /// Changes a user's role; it counts from their next request.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] when no admin would be left.
    async fn set_role(&self, name: &UserName, role: Role) -> Result<()>;

    /// Removes a user and ends all their sessions.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] when no admin would be left.
    async fn remove_user(&self, name: &UserName) -> Result<()>;

    /// Users by name.
    async fn users(&self, page: &PageRequest, now: Now) -> Result<Page<UserListing>>;

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

    /// After a start: no session may last longer than until `latest`, whatever the clock did when it was opened.
    async fn clamp_sessions(&self, latest: Steady) -> Result<()>;

    /// Ends a session; one that is unknown is ended already.
    async fn end_session(&self, secret: &SecretHash) -> Result<()>;

    /// Keeps a token. The record's `last_used_at` is ignored.
    ///
    /// Errors: [`StoreError::Conflict`] when the name is taken, by a token or a user.
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

    /// The hub's own secret of that name, if there is one.
    async fn read_hub_secret(&self, name: &str) -> Result<Option<[u8; 32]>>;

    /// Keeps another secret under that name.
    async fn replace_hub_secret(&self, name: &str, fresh: [u8; 32]) -> Result<()>;

    // ---- upkeep ----

    /// Removes what the plan says, in small steps that keep no other write waiting, and says how much that was; with
    /// `dry_run` only says how much it would be. Gaps in readings that the plan takes go too; their numbers stay lost. The newest record of each series stays, so that a series has one.
    ///
    /// Cancelled, it ends between two steps.
    async fn expire(&self, plan: &ExpiryPlan, dry_run: bool) -> Result<ExpiryReport>;

    /// Frees some room, in small steps that keep no other write waiting. First from writers (modules with a token of their own;
    /// those without one together) whose data grew by more than an equal share, by when it arrived: whatever the age of their
    /// records, with the sums of minutes and hours of those that arrived lately. While nobody is over their share: the oldest
    /// readings, as [`Self::expire`] would. The newest record of each series stays. Answers how many steps that were; none when
    /// there is nothing left. What is freed is at first only [`DiskUse::reusable_bytes`].
    async fn thin(&self, thinning: Eviction, now: Now) -> Result<u32>;

    /// What it takes of the disk.
    async fn disk_use(&self) -> Result<DiskUse>;

    /// Looks through everything that is kept, or with `deep` false only through what is quickly looked at, while other
    /// calls go on. That something is wrong is an answer and no error.
    ///
    /// Cancelled, it ends soon after.
    async fn verify(&self, deep: bool) -> Result<Verification>;

    /// Makes a copy of everything as it is at one moment, while other calls go on: a file at `to`, where there must be none.
    /// It is on the disk and was read back and compared when this answers. Made in steps with pauses between them, so that
    /// the device has time for other writes too.
    ///
    /// Errors: [`StoreError::Conflict`] when there is a file, or what is kept is kept in memory; [`StoreError::Damaged`] when the
    /// copy is not what was copied. Cancelled, it ends soon after; what there is then of the copy is not at `to`.
    async fn backup(&self, to: &Path) -> Result<BackedUp>;

    /// What the hub noted for itself under that name.
    async fn note(&self, name: &str) -> Result<Option<String>>;

    /// Notes something under that name instead of what was noted before.
    async fn keep_note(&self, name: &str, text: &str) -> Result<()>;

    // ---- the engine ----

    /// Does what has become due of the engine's own work; to be called every minute or so. Never called, the engine still
    /// keeps its promises, and takes more room.
    async fn tend(&self, now: Now) -> Result<()>;

    /// Brings all records into the form they stay in, now. Done by itself in time; for tests, and before figures are taken.
    async fn settle(&self) -> Result<()>;
    /// The file in which everything is kept, if it is one.
    fn file(&self) -> Option<&Path>;

    /// Whether it takes writes, what it is kept in is still there, and nobody met damage. Writes nothing itself. After an error that
    /// nothing mends but opening the store anew, it has [`failed`](Self::failed).
    async fn check(&self) -> Result<()>;

    /// Whether another program wrote into what is kept since it was opened or since this was last asked: it wants to be verified.
    fn take_unverified(&self) -> bool;

    /// Becomes ready when the engine has failed for good, and says why: from then on every write is refused, because what
    /// is on the disk may not be what was written. Nothing mends it but opening the store anew, which recovers what was
    /// acknowledged: a program that serves a store ends here. Never ready otherwise.
    async fn failed(&self) -> String;

    /// Finishes what was begun and closes; later calls are [`StoreError::Closed`].
    async fn close(&self) -> Result<()>;
}

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreOptions {
    /// How long readings may wait for others to share their commit; every other write commits at once. Zero, the default:
    /// each waits only for the commit before it.
    pub commit_window: Duration,
    /// In place of the engine's own rule, bring records into the form they stay in when so many wait for it. For tests.
    pub fold_at: Option<usize>,
}

/// Opens a store by the scheme of its URL: `sqlite:///var/lib/iotpi/hub.db`, `sqlite://relative/hub.db`,
/// `sqlite::memory:`. The path is taken as it stands. The file (mode 0600), its folder and its tables are made when
/// missing.
///
/// # Errors
/// [`StoreError::BadUrl`]; [`StoreError::Damaged`]; [`StoreError::Engine`] when the engine cannot open it.
pub async fn open(url: &str) -> Result<Arc<dyn Store>> {
    open_with(url, StoreOptions::default()).await
}

/// As [`open`], with options.
///
/// # Errors
/// As [`open`].
pub async fn open_with(url: &str, options: StoreOptions) -> Result<Arc<dyn Store>> {
    match url.split_once(':') {
        Some(("sqlite", rest)) => Ok(Arc::new(sqlite::Sqlite::open(rest, options).await?)),
        _ => Err(StoreError::BadUrl(url.to_owned())),
    }
}

/// The file in which a store of that URL keeps everything, if it is one.
#[must_use]
pub fn file(url: &str) -> Option<PathBuf> {
    url.strip_prefix("sqlite:").and_then(sqlite::database_path)
}

/// As [`Store::backup`], of a database that nobody here has open; another process may.
///
/// # Errors
/// As [`Store::backup`].
///
/// # Cancel safety
/// As [`Store::backup`].
pub async fn backup(database: &Path, to: &Path) -> Result<BackedUp> {
    recovery::backup(database, to).await
}

/// As [`Store::verify`], of a database that nobody here has open; another process may. Changes nothing.
///
/// # Errors
/// [`StoreError::Engine`] when it is another program's or a newer hub's, or cannot be read.
///
/// # Cancel safety
/// As [`Store::verify`].
pub async fn verify(database: &Path, deep: bool) -> Result<Verification> {
    recovery::verify(database, deep).await
}
