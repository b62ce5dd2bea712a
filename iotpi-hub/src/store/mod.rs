//! The store of the hub: object-safe traits whose methods are intents, one folder per engine.
//!
//! Time is always an argument, so that an engine needs no clock and a test can control it. Deliberately
//! absent: SQL (only `store/<engine>/` has it), permissions and events (`ops/`).
//!
//! Wall time is calendar time; it may jump. Deadlines (of commands, leases, sessions) are in *steady* time:
//! the wall time at the hub's start plus the monotonic time since.

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

/// The result of a store operation.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A point in the hub's steady time: it does not jump while the hub runs, and is close to wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steady(pub Timestamp);

/// The current time on both of the hub's clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Calendar time.
    pub wall: Timestamp,
    /// The time for deadlines.
    pub steady: Steady,
}

/// The page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The maximum number of items, 1 to 1,000.
    pub limit: u32,
    /// The [`Page::next`] of the previous page.
    pub cursor: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: 100, cursor: None }
    }
}

/// The key of a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The module of the series.
    pub module_id: ModuleId,
    /// The type of the series.
    pub sensor: SensorType,
}

/// A query for readings of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingQuery {
    /// The `{type}`.
    pub sensor: SensorType,
    /// Only readings of this module.
    pub module_id: Option<ModuleId>,
    /// The earliest time, inclusive.
    pub since: Option<Timestamp>,
    /// The latest time, exclusive.
    pub until: Option<Timestamp>,
    /// The latest time, inclusive: it excludes readings from a clock that was ahead. It moves with the
    /// current time and is not part of a cursor's query.
    pub not_after: Option<Timestamp>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

impl ReadingQuery {
    /// The queried range in microseconds since 1970-01-01 00:00 UTC.
    pub(crate) fn time_us(&self) -> std::ops::Range<i64> {
        let since = self.since.map_or(i64::MIN, Timestamp::as_micros);
        let until = self.until.map_or(i64::MAX, Timestamp::as_micros);
        since..until.min(end_us(self.not_after))
    }

    /// The part of the query that a cursor belongs to.
    pub(crate) fn listed(&self) -> Self {
        Self { not_after: None, ..self.clone() }
    }
}

/// The first microsecond after `latest`.
pub(crate) fn end_us(latest: Option<Timestamp>) -> i64 {
    latest.map_or(i64::MAX, |latest| latest.as_micros().saturating_add(1))
}

/// The result of recording readings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Modules that were unknown before.
    pub new_modules: Vec<ModuleId>,
    /// The indexes of readings that had been stored before.
    pub repeated: Vec<usize>,
}

/// A query for gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GapQuery {
    /// Only gaps of this module.
    pub module_id: Option<ModuleId>,
    /// Only gaps of this type, or of an unknown type.
    pub sensor: Option<SensorType>,
    /// Only gaps that end at or after this time.
    pub since: Option<Timestamp>,
    /// Only gaps that begin before this time.
    pub until: Option<Timestamp>,
}

/// A stored module. Its health is derived, never stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleRecord {
    /// The id of the module.
    pub id: ModuleId,
    /// The manifest; `None` if it never registered.
    pub manifest: Option<Manifest>,
    /// The last contact, as of the last [`touch`](Store::touch).
    pub last_seen_at: Option<Timestamp>,
    /// The first contact.
    pub registered_at: Timestamp,
    /// The last reported state, and the time of the report.
    pub state: Option<(Map<String, Value>, Timestamp)>,
    /// The account of its numbered readings; `None` if it does not number them.
    pub delivery: Option<Delivery>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The name to log in with.
    pub name: UserName,
    /// The permissions.
    pub role: Role,
    /// The argon2id hash in PHC form.
    pub password_hash: String,
}

/// A user in a list, without the password hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserListing {
    /// The name to log in with.
    pub name: UserName,
    /// The permissions.
    pub role: Role,
    /// The time at which the user was added.
    pub created_at: Timestamp,
    /// The start of the newest session; `None` without one.
    pub last_login_at: Option<Timestamp>,
    /// The number of sessions.
    pub sessions: u64,
}

/// The SHA-256 of a secret: session ids and tokens are stored in this form.
pub type SecretHash = [u8; 32];

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The id of the token.
    pub id: String,
    /// The name of the token.
    pub name: UserName,
    /// The permissions.
    pub role: Role,
    /// The module of a token with role `module`.
    pub module_id: Option<ModuleId>,
    /// The time at which the token was created.
    pub created_at: Timestamp,
    /// The last use, to the hour.
    pub last_used_at: Option<Timestamp>,
}

/// The store of a hub, whichever engine it uses.
///
/// A write that returned `Ok` survives a power cut. Lists have the order that their methods name, and are
/// paged by opaque cursors.
///
/// # Errors
/// Every method: [`StoreError::Engine`], [`StoreError::Full`], [`StoreError::Closed`]; others where named.
/// Lists: [`StoreError::BadCursor`].
///
/// # Cancel safety
/// Every method: a cancelled write happened completely or not at all.
#[async_trait]
pub trait Store: FrameIndexStore + Send + Sync + fmt::Debug {
    // ---- readings ----

    /// Stores readings, all or none. Unknown modules and series are created with `now` as their first
    /// contact, at most `max_series` in all. A numbered reading that was stored before is not stored again.
    /// Arrival times are stored to the millisecond.
    ///
    /// Errors: [`StoreError::OtherUnit`] if a series has another unit; [`StoreError::LimitReached`].
    async fn record(&self, readings: Vec<Reading>, max_series: u64, now: Now) -> Result<Recorded>;

    /// Stores a gap: numbered readings of a module that will never arrive. Creates the module if necessary. A
    /// repeated report of a gap (by epoch and first number) replaces the previous one. Returns whether the
    /// module was new.
    async fn record_gap(&self, module_id: &ModuleId, gap: &NewGap, now: Now) -> Result<bool>;

    /// Gaps by start time, oldest first, that overlap the queried range. A gap of an unknown series is in
    /// every series' list.
    async fn gaps(&self, query: &GapQuery, page: &PageRequest) -> Result<Page<Gap>>;

    /// The delivery account of a module; an unknown module has numbered no readings.
    async fn delivery(&self, module_id: &ModuleId) -> Result<DeliveryAccount>;

    /// The unit of each series, in no order.
    async fn series_units(&self) -> Result<Vec<(SeriesKey, Unit)>>;

    /// Readings by time, then module, then arrival; newest first unless `ascending`.
    async fn readings(&self, query: &ReadingQuery, page: &PageRequest) -> Result<Page<Reading>>;

    /// Readings aggregated over intervals of `width` (a divisor of a day; UTC-aligned), one row for each
    /// series and interval, ordered by interval, then module, regardless of `ascending`. Empty intervals are
    /// left out. All four aggregates are set.
    async fn buckets(
        &self,
        query: &ReadingQuery,
        width: Duration,
        page: &PageRequest,
    ) -> Result<Page<Bucket>>;

    /// The newest reading of every series, by module id, then type. With `latest`, readings taken after that
    /// time are ignored: a clock that was ahead must not hide those that arrive now. A series without other
    /// readings is left out.
    async fn newest(
        &self,
        module_id: Option<&ModuleId>,
        latest: Option<Timestamp>,
        page: &PageRequest,
    ) -> Result<Page<Reading>>;

    /// The newest `count` readings of one series, oldest first; with `latest`, of those taken up to that
    /// time.
    async fn recent(&self, series: &SeriesKey, count: u32, latest: Option<Timestamp>)
    -> Result<Vec<Reading>>;

    // ---- modules ----

    /// Stores a module's manifest; creates the module if necessary.
    async fn register(&self, id: &ModuleId, manifest: &Manifest, now: Now) -> Result<ModuleRecord>;

    /// Stores a module's state; creates the module if necessary.
    async fn report_state(&self, id: &ModuleId, state: &Map<String, Value>, now: Now)
    -> Result<ModuleRecord>;

    /// Stores the last contacts of modules; creates unknown ones. The last call wins, even over a later time:
    /// the clock was set back since.
    async fn touch(&self, seen: &[(ModuleId, Timestamp)], now: Now) -> Result<()>;

    /// One module.
    async fn module(&self, id: &ModuleId) -> Result<Option<ModuleRecord>>;

    /// Modules by id.
    async fn modules(&self, page: &PageRequest) -> Result<Page<ModuleRecord>>;

    /// Removes a module with its series, readings, commands, tokens and the index of its recordings, whose
    /// files get tombstones. When it returns, nothing of the module can be read any more, and a module of the
    /// same id starts empty. The rest of its readings is deleted in steps that do not delay other writes,
    /// also after a restart.
    ///
    /// Errors: [`StoreError::NotFound`].
    async fn remove_module(&self, id: &ModuleId) -> Result<()>;

    // ---- commands ----

    /// Stores a command as queued. If an earlier command of the same issuer's name, module and request has
    /// the same idempotency key, nothing is stored and that command is returned. An absolute command cancels
    /// those of its action and target that are still queued; their places become free.
    ///
    /// Errors: [`StoreError::NotFound`] (the module); [`StoreError::LimitReached`] if `max_waiting` commands
    /// of the module have not ended; [`StoreError::Conflict`] if the id exists, or the key belongs to a
    /// different request.
    async fn submit(&self, order: &CommandOrder, max_waiting: u64, now: Now) -> Result<SubmitOutcome>;

    /// Leases the module's oldest commands, up to `limit`, each with its own new lease id; none while one of
    /// the module's commands is leased. Expired ones are never leased.
    async fn claim(
        &self,
        module_id: &ModuleId,
        limit: u32,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Vec<LeasedCommand>>;

    /// Records that a leased command was started: it will not be delivered again, and its lease is renewed.
    /// May be repeated.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] if the lease is not the command's current
    /// one, or it or the command's lifetime has ended, whether expiry has run or not.
    async fn start(
        &self,
        module_id: &ModuleId,
        id: &CommandId,
        lease: &LeaseId,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Command>;

    /// Records the outcome of a command ([`CommandOutcome::Started`](iotpi_core::CommandOutcome::Started) is
    /// not an outcome and is refused as a conflict). A repeated report changes nothing.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] if the lease is not the command's current
    /// one.
    async fn finish(&self, module_id: &ModuleId, report: &CommandReport, now: Now) -> Result<Command>;

    /// Cancels a command that is still queued.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] if it is not queued any more.
    async fn cancel(&self, id: &CommandId, now: Now) -> Result<Command>;

    /// Expires commands whose lifetime has ended; queues those whose lease has ended again, or marks them
    /// dead after `max_attempts` leases. A started command becomes `unknown_outcome` when its lease ends.
    /// While a lease is valid its command is unchanged, even after its lifetime: it may have run, and the
    /// outcome counts. `changed` is in order of submission.
    async fn sweep_commands(&self, terms: LeaseTerms, now: Now) -> Result<Sweep>;

    /// After a start: limits every deadline to the command's whole lifetime from now, and every lease to a
    /// whole lease, whatever the clock did meanwhile.
    async fn clamp_deadlines(&self, terms: LeaseTerms, now: Now) -> Result<()>;

    /// Deletes ended commands, oldest first, in a step of bounded size, with their idempotency keys. Returns
    /// their number: less than `step` if none is left. Age is measured from the end of the newest command or
    /// from now, whichever is earlier, so a clock that jumps ahead makes no command old.
    async fn prune_commands(&self, history: CommandHistory, now: Now) -> Result<u64>;

    /// The issuer on whose presence a command of that module depends, if there is one.
    async fn watched_issuer(&self, module_id: &ModuleId, id: &CommandId) -> Result<Option<WatchedIssuer>>;

    /// One command.
    async fn command(&self, id: &CommandId) -> Result<Option<Command>>;

    /// A module's commands, newest first.
    async fn commands(&self, module_id: &ModuleId, page: &PageRequest) -> Result<Page<Command>>;

    // ---- users, sessions, tokens ----

    /// Adds the first user.
    ///
    /// Errors: [`StoreError::Conflict`] if there is one already.
    async fn add_first_user(&self, user: &UserRecord, now: Now) -> Result<()>;

    /// Adds a further user.
    ///
    /// Errors: [`StoreError::Conflict`] if the name belongs to a user or a token.
    async fn add_user(&self, user: &UserRecord, now: Now) -> Result<()>;

    /// Replaces a user's password and ends all their sessions.
    ///
    /// Errors: [`StoreError::NotFound`].
    async fn set_password(&self, name: &UserName, password_hash: &str) -> Result<()>;

    /// Changes a user's role, from their next request on.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] if no admin would be left.
    async fn set_role(&self, name: &UserName, role: Role) -> Result<()>;

    /// Removes a user and ends all their sessions.
    ///
    /// Errors: [`StoreError::NotFound`]; [`StoreError::Conflict`] if no admin would be left.
    async fn remove_user(&self, name: &UserName) -> Result<()>;

    /// Users by name.
    async fn users(&self, page: &PageRequest, now: Now) -> Result<Page<UserListing>>;

    /// Whether there is a user.
    async fn has_users(&self) -> Result<bool>;

    /// One user.
    async fn user(&self, name: &UserName) -> Result<Option<UserRecord>>;

    /// Stores a session until `ends`.
    ///
    /// Errors: [`StoreError::NotFound`] (the user).
    async fn open_session(&self, secret: &SecretHash, user: &UserName, ends: Steady, now: Now) -> Result<()>;

    /// The user of a session that has not ended.
    async fn session(&self, secret: &SecretHash, now: Now) -> Result<Option<UserRecord>>;

    /// After a start: limits every session to `latest`, whatever the clock did when it was opened.
    async fn clamp_sessions(&self, latest: Steady) -> Result<()>;

    /// Ends a session; an unknown one counts as ended.
    async fn end_session(&self, secret: &SecretHash) -> Result<()>;

    /// Stores a token. The record's `last_used_at` is ignored.
    ///
    /// Errors: [`StoreError::Conflict`] if the name belongs to a token or a user.
    async fn add_token(&self, secret: &SecretHash, token: &TokenRecord) -> Result<()>;

    /// The token with this secret.
    async fn token(&self, secret: &SecretHash) -> Result<Option<TokenRecord>>;

    /// Records the use of a token, to the hour; an unknown one was revoked meanwhile.
    async fn touch_token(&self, id: &str, now: Now) -> Result<()>;

    /// Tokens by name.
    async fn tokens(&self, page: &PageRequest) -> Result<Page<TokenRecord>>;

    /// Revokes a token.
    ///
    /// Errors: [`StoreError::NotFound`].
    async fn revoke_token(&self, id: &str) -> Result<()>;

    /// The hub's own secret of this name: `fresh` the first time, the stored one from then on.
    async fn hub_secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]>;

    /// The hub's own secret of this name, if there is one.
    async fn read_hub_secret(&self, name: &str) -> Result<Option<[u8; 32]>>;

    /// Replaces the secret of this name.
    async fn replace_hub_secret(&self, name: &str, fresh: [u8; 32]) -> Result<()>;

    // ---- maintenance ----

    /// Deletes data by the plan, in small steps that do not delay other writes, and returns how much; with
    /// `dry_run` it only counts. Gaps in deleted readings are deleted, too; their numbers stay lost. The
    /// newest reading of each series is kept.
    ///
    /// If cancelled, it ends between two steps.
    async fn expire(&self, plan: &ExpiryPlan, dry_run: bool) -> Result<ExpiryReport>;

    /// Frees space in small steps that do not delay other writes. First from writers (modules with their own
    /// token; those without one together) whose data grew by more than an equal share, by its arrival:
    /// readings of any age, with the rollups of minutes and hours of those that arrived recently. If no
    /// writer is over its share: the oldest readings, like [`Self::expire`]. The newest reading of each
    /// series is kept. Returns the number of steps; 0 if nothing is left. Freed space is at first only
    /// [`DiskUse::reusable_bytes`].
    async fn thin(&self, thinning: Eviction, now: Now) -> Result<u32>;

    /// The disk space that the store uses.
    async fn disk_use(&self) -> Result<DiskUse>;

    /// Verifies the store, with `deep` false only the quick checks, while other calls continue. Damage is a
    /// result, not an error.
    ///
    /// If cancelled, it ends soon after.
    async fn verify(&self, deep: bool) -> Result<Verification>;

    /// Copies the store as of one moment, while other calls continue, to a new file at `to`. When it returns,
    /// the copy is on disk and was read back and compared. It is made in steps with pauses, so that the
    /// device has time for other writes.
    ///
    /// Errors: [`StoreError::Conflict`] if the file exists, or the store is in memory;
    /// [`StoreError::Damaged`] if the copy differs. If cancelled, it ends soon after; an incomplete copy is
    /// not at `to`.
    async fn backup(&self, to: &Path) -> Result<BackedUp>;

    /// Reads a note of the hub.
    async fn note(&self, name: &str) -> Result<Option<String>>;

    /// Replaces a note of the hub.
    async fn keep_note(&self, name: &str, text: &str) -> Result<()>;

    // ---- the engine ----

    /// Performs the engine's own maintenance that is due; to be called about every minute. The engine keeps
    /// its promises without it, and takes more space.
    async fn tend(&self, now: Now) -> Result<()>;

    /// Compacts all readings now. This happens automatically over time; for tests, and before measurements.
    async fn settle(&self) -> Result<()>;
    /// The file of the store, if it is one.
    fn file(&self) -> Option<&Path>;

    /// Checks that the store accepts writes, its files still exist, and no damage was found. Writes nothing.
    /// After an error that only opening the store again can repair, it has [`failed`](Self::failed).
    async fn check(&self) -> Result<()>;

    /// Whether another program wrote into the store since it was opened or since the last call: it should be
    /// verified.
    fn take_unverified(&self) -> bool;

    /// Returns the reason when the engine has failed permanently: from then on every write is refused,
    /// because the disk may not contain what was written. Only opening the store again recovers all
    /// acknowledged data, so a program that serves a store should end. Never returns otherwise.
    async fn failed(&self) -> String;

    /// Finishes writes in progress and closes; later calls return [`StoreError::Closed`].
    async fn close(&self) -> Result<()>;
}

/// The options of opening a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreOptions {
    /// The time for which readings may wait to share a commit; every other write commits at once. Zero, the
    /// default: each waits only for the commit before it.
    pub commit_window: Duration,
    /// Compacts when this many readings wait, instead of by the engine's own rule. For tests.
    pub compact_at: Option<usize>,
}

/// Opens a store by the scheme of its URL: `sqlite:///var/lib/iotpi/hub.db`, `sqlite://relative/hub.db`,
/// `sqlite::memory:`. The path is used as it is. The file (mode 0600), its directory and its tables are
/// created if missing.
///
/// # Errors
/// [`StoreError::BadUrl`]; [`StoreError::Damaged`]; [`StoreError::Engine`] if the engine cannot open it.
pub async fn open(url: &str) -> Result<Arc<dyn Store>> {
    open_with(url, StoreOptions::default()).await
}

/// Like [`open`], with options.
///
/// # Errors
/// As [`open`].
pub async fn open_with(url: &str, options: StoreOptions) -> Result<Arc<dyn Store>> {
    match url.split_once(':') {
        Some(("sqlite", rest)) => Ok(Arc::new(sqlite::Sqlite::open(rest, options).await?)),
        _ => Err(StoreError::BadUrl(url.to_owned())),
    }
}

/// The file of a store with this URL, if it is one.
#[must_use]
pub fn file(url: &str) -> Option<PathBuf> {
    url.strip_prefix("sqlite:").and_then(sqlite::database_path)
}

/// Like [`Store::backup`], of a database that is not open in this process; another process may have it open.
///
/// # Errors
/// As [`Store::backup`].
///
/// # Cancel safety
/// As [`Store::backup`].
pub async fn backup(database: &Path, to: &Path) -> Result<BackedUp> {
    recovery::backup(database, to).await
}

/// Like [`Store::verify`], of a database that is not open in this process; another process may have it open.
/// Changes nothing.
///
/// # Errors
/// [`StoreError::Engine`] if it belongs to another program or a newer hub, or cannot be read.
///
/// # Cancel safety
/// As [`Store::verify`].
pub async fn verify(database: &Path, deep: bool) -> Result<Verification> {
    recovery::verify(database, deep).await
}
