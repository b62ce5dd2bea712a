//! The hub: one value that combines the operations with their state.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64},
    },
    time::Duration,
};

use iotpi_core::{ModuleId, Timestamp};
use tokio::{sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::{Admission, Connections},
    auth::{FirstAdminCode, LoginRateLimit, Passwords, TokenCache, jwt::SigningKey},
    clock::HubClock,
    commands::Commands,
    config::Config,
    error::Result,
    events::Events,
    frames::Frames,
    issuer_presence::IssuerPresence,
    maintenance::Storage,
    metrics::Metrics,
    presence::Presence,
    quotas::Quotas,
    recording::Recordings,
    store::{Now, ReadStore, Store, StoreError},
    wrong_clock::WrongClock,
};

/// Time that requests in progress have to finish when the hub stops.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

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
    /// The requests in progress on HTTP servers of the program: see [`Hub::router`].
    pub(crate) requests: Arc<Connections>,
    /// The random part of the next request id.
    pub(crate) next_request: AtomicU64,
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
    pub(crate) module_changed: Notify,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Hub {
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
    ///
    /// # Cancel safety
    /// When cancelled, the hub has begun to stop, and the store may still be open. Call it again to finish.
    pub async fn shutdown(&self) -> Result<()> {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        let requests = timeout(DRAIN_TIMEOUT, self.inner.requests.closed());
        let _ = tokio::join!(self.inner.tasks.wait(), requests);
        let closed = self.inner.store.close().await;
        self.inner.storage.release();
        match closed {
            Ok(()) | Err(StoreError::Closed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the time is over that requests in progress have to finish after the hub began to stop.
    pub(crate) async fn drained(&self) {
        self.stopping().cancelled().await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    }

    pub(crate) fn now(&self) -> Now {
        self.inner.clock.now()
    }
}
