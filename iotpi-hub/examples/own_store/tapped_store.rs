//! A store that passes each recorded reading on. Everything is kept by another store.

use std::{path::Path, sync::Arc, time::Duration};

use iotpi_hub::{
    async_trait,
    auth::Role,
    iotpi_core::{
        Manifest, ModuleId, Reading, Timestamp, Unit,
        model::{
            command::{Command, CommandId, CommandReport, LeasedCommand},
            gap::{DeliveryAccount, Gap, NewGap},
            id::UserName,
            page::Page,
            reading::Bucket,
            recording::{Clip, FrameSelection, RecordingSettings},
        },
    },
    store::{
        BackedUp, ClipQuery, CommandHistory, CommandSubmission, DeadlineChanges, DiskUse, Eviction,
        ExpiryPlan, ExpiryReport, FoundFrame, GapQuery, IndexedFrames, LeaseTerms, MaintainStore,
        ModuleRecord, Now, PageRequest, ReadCommands, ReadFrameIndex, ReadModules, ReadReadings, ReadUsers,
        ReadingQuery, Recorded, RecordingTotals, Reported, Result, SecretHash, SegmentRecord, SeriesKey,
        Steady, Store, StoreStatus, SubmitOutcome, TokenRecord, UserListing, UserRecord, Verification,
        WatchedIssuer, WriteCommands, WriteFrameIndex, WriteModules, WriteReadings, WriteUsers,
    },
};
use serde_json::{Map, Value};
use tokio::sync::broadcast;

/// A store around another one.
#[derive(Debug)]
pub struct TappedStore {
    inner: Arc<dyn Store>,
    recorded: broadcast::Sender<Reading>,
}

impl TappedStore {
    /// Wraps a store. Every reading is sent to the receivers of `recorded` once its commit is on disk.
    pub fn new(inner: Arc<dyn Store>, recorded: broadcast::Sender<Reading>) -> Self {
        Self { inner, recorded }
    }
}

#[async_trait]
impl WriteReadings for TappedStore {
    async fn record(&self, readings: Vec<Reading>, max_series: u64, now: Now) -> Result<Recorded> {
        let recorded = self.inner.record(readings.clone(), max_series, now).await?;
        for (index, reading) in readings.into_iter().enumerate() {
            if !recorded.repeated.contains(&index) {
                // Without a receiver it is stored and not passed on.
                let _ = self.recorded.send(reading);
            }
        }
        Ok(recorded)
    }

    async fn record_gap(&self, module_id: &ModuleId, gap: &NewGap, now: Now) -> Result<bool> {
        self.inner.record_gap(module_id, gap, now).await
    }
}

/// Implements traits by calling the inner store.
macro_rules! forward {
    ($($resource:ident {
        $(fn $read:ident() -> $value:ty;)*
        $(async fn $method:ident($($name:ident: $type:ty),*) -> $result:ty;)*
    })*) => {
        $(
            #[async_trait]
            impl $resource for TappedStore {
                $(fn $read(&self) -> $value {
                    self.inner.$read()
                })*
                $(async fn $method(&self, $($name: $type),*) -> $result {
                    self.inner.$method($($name),*).await
                })*
            }
        )*
    };
}

forward! {
    ReadReadings {
        async fn gaps(query: &GapQuery, page: &PageRequest) -> Result<Page<Gap>>;
        async fn delivery(module_id: &ModuleId) -> Result<DeliveryAccount>;
        async fn series() -> Result<Vec<SeriesKey>>;
        async fn units(series: &[SeriesKey]) -> Result<Vec<Option<Unit>>>;
        async fn readings(query: &ReadingQuery, page: &PageRequest) -> Result<Page<Reading>>;
        async fn buckets(query: &ReadingQuery, width: Duration, page: &PageRequest) -> Result<Page<Bucket>>;
        async fn newest(
            module_id: Option<&ModuleId>,
            latest: Option<Timestamp>,
            page: &PageRequest
        ) -> Result<Page<Reading>>;
        async fn recent(series: &SeriesKey, count: u32, latest: Option<Timestamp>) -> Result<Vec<Reading>>;
    }
    ReadModules {
        async fn module(id: &ModuleId) -> Result<Option<ModuleRecord>>;
        async fn modules(page: &PageRequest) -> Result<Page<ModuleRecord>>;
    }
    WriteModules {
        async fn register(id: &ModuleId, manifest: &Manifest, now: Now) -> Result<ModuleRecord>;
        async fn touch(seen: &[(ModuleId, Timestamp)], now: Now) -> Result<()>;
        async fn remove_module(id: &ModuleId) -> Result<()>;
    }
    ReadCommands {
        async fn command(id: &CommandId) -> Result<Option<Command>>;
        async fn commands(module_id: &ModuleId, page: &PageRequest) -> Result<Page<Command>>;
        async fn watched_issuer(module_id: &ModuleId, id: &CommandId) -> Result<Option<WatchedIssuer>>;
    }
    WriteCommands {
        async fn submit(submission: &CommandSubmission, max_waiting: u64, now: Now) -> Result<SubmitOutcome>;
        async fn claim(
            module_id: &ModuleId,
            limit: u32,
            terms: LeaseTerms,
            now: Now
        ) -> Result<Vec<LeasedCommand>>;
        async fn report(
            module_id: &ModuleId,
            state: Option<&Map<String,
            Value>>,
            command: Option<&CommandReport>,
            terms: LeaseTerms,
            now: Now
        ) -> Result<Option<Result<Reported>>>;
        async fn cancel(id: &CommandId, now: Now) -> Result<Command>;
        async fn apply_deadlines(terms: LeaseTerms, now: Now) -> Result<DeadlineChanges>;
        async fn clamp_deadlines(terms: LeaseTerms, now: Now) -> Result<()>;
        async fn prune_commands(history: CommandHistory, now: Now) -> Result<u64>;
    }
    ReadUsers {
        async fn has_users() -> Result<bool>;
        async fn user(name: &UserName) -> Result<Option<UserRecord>>;
        async fn users(page: &PageRequest, now: Now) -> Result<Page<UserListing>>;
        async fn session(secret: &SecretHash, now: Now) -> Result<Option<UserRecord>>;
        async fn token(secret: &SecretHash) -> Result<Option<TokenRecord>>;
        async fn tokens(page: &PageRequest) -> Result<Page<TokenRecord>>;
    }
    WriteUsers {
        async fn add_first_user(user: &UserRecord, now: Now) -> Result<()>;
        async fn add_user(user: &UserRecord, now: Now) -> Result<()>;
        async fn set_password(name: &UserName, password_hash: &str) -> Result<()>;
        async fn set_role(name: &UserName, role: Role) -> Result<()>;
        async fn remove_user(name: &UserName) -> Result<()>;
        async fn open_session(secret: &SecretHash, user: &UserName, ends: Steady, now: Now) -> Result<()>;
        async fn clamp_sessions(latest: Steady) -> Result<()>;
        async fn end_session(secret: &SecretHash) -> Result<()>;
        async fn add_token(secret: &SecretHash, token: &TokenRecord) -> Result<()>;
        async fn touch_token(id: &str, now: Now) -> Result<()>;
        async fn revoke_token(id: &str) -> Result<()>;
    }
    ReadFrameIndex {
        async fn recording(module_id: &ModuleId) -> Result<Option<RecordingSettings>>;
        async fn all_recording() -> Result<Vec<(ModuleId, RecordingSettings)>>;
        async fn recording_totals(module_id: &ModuleId) -> Result<RecordingTotals>;
        async fn clips(query: &ClipQuery, page: &PageRequest) -> Result<Page<Clip>>;
        async fn recorded_frames(query: &ClipQuery, page: &PageRequest) -> Result<Page<FoundFrame>>;
        async fn recorded_frame(
            module_id: &ModuleId,
            at: Timestamp,
            pick: FrameSelection
        ) -> Result<Option<FoundFrame>>;
        async fn segments(module_id: &ModuleId, page: &PageRequest) -> Result<Page<SegmentRecord>>;
        async fn tombstones() -> Result<Vec<(ModuleId, String)>>;
    }
    WriteFrameIndex {
        async fn set_recording(module_id: &ModuleId, settings: &RecordingSettings) -> Result<()>;
        async fn index_frames(frames: &IndexedFrames) -> Result<()>;
        async fn add_tombstones(module_id: &ModuleId, names: &[String]) -> Result<()>;
        async fn remove_tombstones(gone: &[(ModuleId, String)]) -> Result<()>;
    }
    StoreStatus {
        fn file() -> Option<&Path>;
        async fn disk_use() -> Result<DiskUse>;
        async fn check() -> Result<()>;
        async fn failed() -> String;
    }
    MaintainStore {
        fn take_unverified() -> bool;
        async fn expire(plan: &ExpiryPlan, dry_run: bool) -> Result<ExpiryReport>;
        async fn evict(eviction: Eviction, now: Now) -> Result<u32>;
        async fn verify(deep: bool) -> Result<Verification>;
        async fn backup(to: &Path) -> Result<BackedUp>;
        async fn note(name: &str) -> Result<Option<String>>;
        async fn set_note(name: &str, text: &str) -> Result<()>;
        async fn hub_secret(name: &str, fresh: [u8; 32]) -> Result<[u8; 32]>;
        async fn read_hub_secret(name: &str) -> Result<Option<[u8; 32]>>;
        async fn replace_hub_secret(name: &str, fresh: [u8; 32]) -> Result<()>;
        async fn maintain(now: Now) -> Result<()>;
        async fn compact() -> Result<()>;
        async fn close() -> Result<()>;
    }
}
