//! The hub: one value that combines the operations with their state.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64},
    },
    time::Duration,
};

use iotpi_core::{Clock, ModuleId, SystemClock, Timestamp};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::Admission,
    auth::{Caller, FirstAdminCode, LoginRateLimit, Passwords, TokenCache, jwt::SigningKey},
    clock::HubClock,
    config::Config,
    error::{HubError, Result},
    events::Events,
    frames::Frames,
    issuer_presence::IssuerPresence,
    maintenance::{self, Machine, Opened, Storage, Wear, device_kind},
    metrics::Metrics,
    ops::auth::{restore_credential_state, stored_credential_time},
    ops::commands::Commands,
    ops::{health::StoreCheck, maintenance::WEAR, read_readings::stored_clock},
    presence::Presence,
    quotas::Quotas,
    recording::Recordings,
    store::{self, Now, Pages, ReadStore, Store, StoreError, StoreOptions},
    wrong_clock::WrongClock,
};

/// The interval at which the last contacts of modules are saved.
const SAVE_PRESENCE_EVERY: Duration = Duration::from_secs(30);
/// The number of modules in one such write, which takes a few milliseconds.
const SAVE_PRESENCE_STEP: usize = 250;
/// The interval of the store's own maintenance.
const TEND_STORE_EVERY: Duration = Duration::from_secs(60);
/// The interval of the check for modules that became silent.
const LOOK_FOR_SILENCE_EVERY: Duration = Duration::from_secs(1);

/// A running hub. Clones share it.
///
/// ```
/// use iotpi_hub::{Config, Hub};
/// use tokio::net::TcpListener;
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let config = Config { store: "sqlite::memory:".to_owned(), ..Config::default() };
/// let hub = Hub::open(config).await?;
/// if let Some(code) = hub.first_admin_code().await? {
///     println!("create the first admin with the code {code}");
/// }
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let serving = tokio::spawn(hub.clone().serve(listener));
/// // ... until it is time to go:
/// hub.shutdown().await?;
/// serving.await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Hub {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) admission: Admission,
    pub(crate) clock: HubClock,
    pub(crate) wrong_clock: WrongClock,
    pub(crate) started_at: Timestamp,
    pub(crate) events: Events,
    pub(crate) frames: Arc<Frames>,
    pub(crate) presence: Presence,
    pub(crate) quotas: Quotas,
    pub(crate) recordings: Recordings,
    /// Modules whose clocks were found to be ahead, which is logged once.
    pub(crate) clocks_ahead: Mutex<HashSet<ModuleId>>,
    pub(crate) commands: Commands,
    /// The presence of sessions and tokens.
    pub(crate) issuers: Arc<IssuerPresence>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) storage: Storage,
    /// The last successful check of the store.
    pub(crate) store_check: StoreCheck,
    pub(crate) signing_key: SigningKey,
    /// The last saved credential time, in microseconds.
    pub(crate) credential_time_saved: AtomicI64,
    /// Recently looked-up tokens, and the number of revocations.
    pub(crate) token_cache: TokenCache,
    pub(crate) passwords: Passwords,
    pub(crate) login_rate_limit: LoginRateLimit,
    pub(crate) first_admin_code: FirstAdminCode,
    /// Once there is a user, there always is one.
    pub(crate) has_users: AtomicBool,
    /// The host name of the machine.
    pub(crate) host_name: String,
    /// Notified when a module may have changed.
    pub(crate) module_bell: Notify,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Hub {
    /// Opens the store that the config names and starts a hub on the machine's clock. A damaged database is
    /// moved to quarantine with all its files, and the newest backup or a new database replaces it: see
    /// [`Self::recovered`].
    ///
    /// # Errors
    /// `InvalidArgument` if the config is invalid; `Conflict` if another hub has the database open; otherwise
    /// the store's.
    pub async fn open(config: Config) -> Result<Self> {
        config.check()?;
        let (clock, machine) = (SystemClock::shared(), Machine::default());
        let device = store::file(&config.store).map(|file| device_kind(machine.sys(), &file));
        let commit_window =
            device.map_or(Duration::ZERO, |kind| kind.commit_window(config.storage.commit_window));
        let options = StoreOptions { commit_window, ..StoreOptions::default() };
        let opened = maintenance::open(&config, options, clock.now(), None).await?;
        let recovered = opened.recovered.clone();
        let store = Arc::clone(&opened.store);
        match Self::start_with(config.clone(), opened, options, Arc::clone(&clock), machine.clone()).await {
            // A database that opens may still be unreadable: a second attempt, with that knowledge.
            Err(error) if recovered.is_none() && is_damage(&error) => {
                let damage = format!("{error}: {}", causes(&error));
                let _ = store.close().await;
                drop(store);
                let opened = maintenance::open(&config, options, clock.now(), Some(damage)).await?;
                Self::start_with(config, opened, options, clock, machine).await
            }
            started => started,
        }
    }

    /// Starts a hub on a store and a clock: loads the state of the store and starts the background tasks.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// `InvalidArgument` if the config is invalid; the store's otherwise.
    pub async fn start(config: Config, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::start_on(config, store, clock, Machine::default()).await
    }

    /// Like [`Self::start`], on another machine.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_on(
        config: Config,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        machine: Machine,
    ) -> Result<Self> {
        let opened = Opened { store, lock: None, recovered: None };
        Self::start_with(config, opened, StoreOptions::default(), clock, machine).await
    }

    async fn start_with(
        config: Config,
        opened: Opened,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
        machine: Machine,
    ) -> Result<Self> {
        let Opened { store, lock, recovered } = opened;
        config.check()?;
        let wrong_clock = WrongClock::new(stored_clock(&*store).await?.as_deref(), &*clock);
        let clock = HubClock::new(clock, stored_credential_time(&*store).await?);
        let now = clock.now();
        let session = Duration::from_secs(u64::from(config.auth.session_days) * 86_400);
        restore_credential_state(&*store, clock.credential_time(), session).await?;
        store.clamp_deadlines(crate::ops::commands::TERMS, now).await?;
        let presence = Presence::default();
        let mut pages = Pages::new();
        while let Some(page) = pages.next() {
            let modules = pages.take(store.modules(&page).await?);
            modules.iter().for_each(|record| presence.restore(record, now));
        }
        let quotas = Quotas::new(&config.limits, store.series().await?);
        let has_users = AtomicBool::new(store.has_users().await?);
        let metrics = Arc::new(Metrics::default());
        let wear = Wear::remembered(store.note(WEAR).await?.as_deref(), clock.uptime());
        let file = store.file().map(std::path::Path::to_owned);
        let recordings = config.cameras.recordings(file.as_deref());
        let mut storage = Storage::new(machine, file, &config.backup, wear, now, clock.uptime());
        storage.commit_window = options.commit_window;
        storage.recovered = recovered;
        storage.hold(lock);
        let inner = Inner {
            admission: Admission::default(),
            events: Events::new(
                config.limits.live_backlog as usize,
                usize::try_from(config.limits.live_backlog_bytes).unwrap_or(usize::MAX),
            ),
            frames: Arc::new(Frames::new(
                config.limits.cameras,
                config.cameras.lost_after(),
                Arc::clone(&metrics),
            )),
            presence,
            quotas,
            recordings: Recordings::new(recordings),
            clocks_ahead: Mutex::default(),
            commands: Commands::default(),
            issuers: Arc::default(),
            metrics,
            storage,
            store_check: StoreCheck::default(),
            signing_key: SigningKey::default(),
            credential_time_saved: AtomicI64::new(0),
            token_cache: TokenCache::default(),
            passwords: Passwords::default(),
            login_rate_limit: LoginRateLimit::default(),
            first_admin_code: FirstAdminCode::default(),
            has_users,
            host_name: gethostname::gethostname().to_string_lossy().to_ascii_lowercase(),
            module_bell: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            started_at: now.wall,
            clock,
            wrong_clock,
            store,
            config,
        };
        let hub = Self { inner: Arc::new(inner) };
        hub.inner.tasks.spawn(hub.clone().sweep_commands());
        hub.inner.tasks.spawn(hub.clone().prune_commands());
        hub.inner.tasks.spawn(hub.clone().watch_modules());
        hub.inner.tasks.spawn(hub.clone().tend_store());
        hub.inner.tasks.spawn(hub.clone().watch_store());
        hub.start_maintenance();
        hub.start_recordings().await?;
        Ok(hub)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The reads of the store. Writes go through the hub's own methods, which check permissions and publish
    /// events.
    #[must_use]
    pub fn store(&self) -> &dyn ReadStore {
        &*self.inner.store
    }

    /// The events of the hub.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.inner.events
    }

    /// Cancelled when the hub begins to stop.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.inner.stop
    }

    /// Returns the reason when the store has failed permanently. Every write is refused from then on. A
    /// program that serves a hub should then end with an error and be restarted: opening the store recovers
    /// all acknowledged data. Never returns otherwise.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn failed(&self) -> String {
        self.inner.store.failed().await
    }

    /// Stops the hub: no new connections, requests in progress finish, streams and long polls end at once;
    /// then unsaved state is saved and the store closed. Takes under 3 s. May be called twice.
    ///
    /// # Errors
    /// The store's, if it cannot be closed properly.
    pub async fn shutdown(&self) -> Result<()> {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        let closed = self.inner.store.close().await;
        self.inner.storage.release();
        match closed {
            Ok(()) | Err(store::StoreError::Closed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn now(&self) -> Now {
        self.inner.clock.now()
    }

    /// Records a contact with the module, and creates it if it was unknown.
    pub(crate) async fn heard(&self, caller: &Caller, id: &ModuleId) -> Result<()> {
        let now = self.now();
        let new = !self.inner.presence.knows(id);
        if new {
            self.check_new_modules(caller, [id])?;
            self.inner.store.touch(&[(id.clone(), now.wall)], now).await?;
        }
        if self.inner.presence.heard(id, now) {
            self.inner.module_bell.notify_one();
        }
        Ok(())
    }

    /// Records a contact with the module, if it is known.
    pub(crate) fn seen(&self, id: &ModuleId) {
        if self.inner.presence.knows(id) && self.inner.presence.heard(id, self.now()) {
            self.inner.module_bell.notify_one();
        }
    }

    /// The background task that publishes changes and silence of modules, and saves their last contacts.
    async fn watch_modules(self) {
        let mut save = tokio::time::interval(SAVE_PRESENCE_EVERY);
        let mut look = tokio::time::interval(LOOK_FOR_SILENCE_EVERY);
        save.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => break,
                _ = save.tick() => {
                    self.save_presence().await;
                    self.save_clock().await;
                    self.save_credential_time().await;
                }
                _ = look.tick() => {
                    self.detect_clock_step();
                    self.detect_lost_cameras();
                    self.publish_modules(self.inner.presence.to_tell(self.now())).await;
                }
                // Only the changed ones: checking every module after each report would grow quadratically.
                () = self.inner.module_bell.notified() => {
                    self.publish_modules(self.inner.presence.take_changed()).await;
                }
            }
        }
        // Requests in progress may still add contacts; those are lost at the next start.
        self.save_presence().await;
        self.save_clock().await;
        self.save_credential_time().await;
    }

    /// The background task that gives the store time for its maintenance.
    async fn tend_store(self) {
        let mut due = tokio::time::interval(TEND_STORE_EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                _ = due.tick() => {}
            }
            if let Err(error) = self.inner.store.tend(self.now()).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the store could not be tended");
            }
        }
    }

    async fn publish_modules(&self, ids: BTreeSet<ModuleId>) {
        for id in ids {
            if let Err(error) = self.publish_module(&id).await {
                tracing::warn!(module = %id, error = &error as &dyn std::error::Error, "a change could not be told");
                // Retried at the next check.
                self.inner.presence.changed(&id);
            }
        }
    }

    async fn save_presence(&self) {
        // In steps, so that no other write waits long, however many modules there are.
        for step in self.inner.presence.unsaved().chunks(SAVE_PRESENCE_STEP) {
            if let Err(error) = self.inner.store.touch(step, self.now()).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "last_seen could not be saved");
            }
        }
    }
}

fn is_damage(error: &HubError) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    matches!(source, Some(StoreError::Damaged { .. }))
}

/// The chain of causes of an error.
fn causes(error: &HubError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
