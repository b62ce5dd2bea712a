//! Opening a hub: its store, its state, its background tasks.

use std::{
    error::Error,
    iter::once,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64},
    },
    time::Duration,
};

use iotpi_core::{Clock, SystemClock};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    auth::{restore_credential_state, stored_credential_time},
    commands::TERMS,
    maintenance::WEAR,
    read_readings::stored_clock,
};
use crate::{
    Config, Hub,
    admission::{Admission, Connections},
    auth::{FirstAdminCode, LoginRateLimit, Passwords, TokenCache, jwt::SigningKey},
    clock::HubClock,
    commands::Commands,
    error::{HubError, Result, causes},
    events::Events,
    frames::Frames,
    hub::Inner,
    maintenance::{self, Machine, Opened, Storage, Wear, device_kind},
    metrics::Metrics,
    presence::Presence,
    quotas::Quotas,
    recording::Recordings,
    store::{self, Pages, Store, StoreError, StoreOptions},
    wrong_clock::WrongClock,
};

impl Hub {
    /// Opens the store that the config names and starts a hub on the machine's clock. A damaged database is
    /// moved to quarantine with all its files, and the newest backup or a new database replaces it: see
    /// [`Self::recovered`].
    ///
    /// # Errors
    /// `InvalidArgument` if the config is invalid; `Conflict` if another hub has the database open; otherwise
    /// the store's.
    ///
    /// # Cancel safety
    /// Not cancel safe: background tasks may have started that keep the store open.
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
                let damage = once(&error as &dyn Error).chain(causes(&error));
                let damage = damage.map(ToString::to_string).collect::<Vec<_>>().join(": ");
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
    ///
    /// # Cancel safety
    /// As [`Self::open`].
    pub async fn start(config: Config, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::start_on(config, store, clock, Machine::default()).await
    }

    /// Like [`Self::start`], on another machine.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) async fn start_on(
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
        store.clamp_deadlines(TERMS, now).await?;
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
        let file = store.file().map(Path::to_owned);
        let recordings = config.cameras.recordings(file.as_deref());
        let mut storage = Storage::new(machine, file, &config.backup, wear, now, clock.uptime());
        storage.commit_window = options.commit_window;
        storage.recovered = recovered;
        storage.hold(lock);
        let inner = Inner {
            admission: Admission::default(),
            requests: Connections::new(config.http.max_connections as usize),
            next_request: AtomicU64::new(getrandom::u64().unwrap_or_default()),
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
            signing_key: SigningKey::default(),
            credential_time_saved: AtomicI64::new(0),
            token_cache: TokenCache::default(),
            passwords: Passwords::default(),
            login_rate_limit: LoginRateLimit::default(),
            first_admin_code: FirstAdminCode::default(),
            has_users,
            host_name: gethostname::gethostname().to_string_lossy().to_ascii_lowercase(),
            module_changed: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            started_at: now.wall,
            clock,
            wrong_clock,
            store,
            config,
        };
        let hub = Self { inner: Arc::new(inner) };
        hub.inner.tasks.spawn(hub.clone().run_deadlines());
        hub.inner.tasks.spawn(hub.clone().prune_commands());
        hub.inner.tasks.spawn(hub.clone().watch_modules());
        hub.inner.tasks.spawn(hub.clone().watch_store());
        hub.start_maintenance();
        hub.start_recordings().await?;
        Ok(hub)
    }
}

fn is_damage(error: &HubError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref());
    matches!(source, Some(StoreError::Damaged { .. }))
}
