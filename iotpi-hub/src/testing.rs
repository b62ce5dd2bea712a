//! A real hub on a free port, for the tests of programs that use one.
//!
//! Nothing is mocked: the store is SQLite, the connection is loopback TCP. Only the clock may be controlled
//! by a test.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use iotpi_core::{Clock, ModuleId, SystemClock, Timestamp, model::id::UserName, time::ManualClock};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    Config, Hub, HubError, Result,
    auth::{
        Role,
        token::{self, NewToken},
    },
    maintenance::{Machine, RetentionReport},
    store,
};

/// A hub that is being served on a free port of this machine.
///
/// # Cancel safety
/// The methods are not cancel safe: a cancelled start may leave the hub running, and a cancelled stop an open
/// store.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// use iotpi_hub::{auth::Role, testing::TestHub};
///
/// let hub = TestHub::start().await?;
/// println!("{} {}", hub.url(), hub.token(Role::Viewer).await?);
/// hub.stop().await?;
/// # Ok::<(), iotpi_hub::HubError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TestHub {
    hub: Hub,
    address: SocketAddr,
    clock: Option<Arc<ManualClock>>,
    serving: JoinHandle<()>,
}

impl TestHub {
    /// Starts a hub with a store in memory and the default config.
    ///
    /// # Errors
    /// The hub's.
    pub async fn start() -> Result<Self> {
        Self::with_config(Config::default()).await
    }

    /// Starts a hub with a store in memory and this config; its `listen` and `store` are ignored.
    ///
    /// # Errors
    /// The hub's.
    pub async fn with_config(config: Config) -> Result<Self> {
        Self::on_store(config, store::open("sqlite::memory:").await?, SystemClock::shared(), None).await
    }

    /// Starts a hub on a clock that stands still until [`Self::advance`].
    ///
    /// # Errors
    /// The hub's.
    pub async fn with_manual_clock(config: Config, now: Timestamp) -> Result<Self> {
        let clock = ManualClock::at(now);
        Self::on_store(config, store::open("sqlite::memory:").await?, clock.clone(), Some(clock)).await
    }

    /// Starts a hub with the store of this URL.
    ///
    /// # Errors
    /// The hub's.
    pub async fn with_store(config: Config, url: &str) -> Result<Self> {
        Self::on_store(config, store::open(url).await?, SystemClock::shared(), None).await
    }

    /// Starts a hub with the store of this URL, on a clock that stands still and a simulated machine.
    ///
    /// # Errors
    /// The hub's.
    pub async fn on_machine(config: Config, url: &str, machine: Machine, now: Timestamp) -> Result<Self> {
        let clock = ManualClock::at(now);
        let hub = Hub::start_on(config, store::open(url).await?, clock.clone(), machine).await?;
        Self::serve_with(hub, Some(clock), Hub::serve).await
    }

    /// Serves a hub that the test has started, for example on a store of its own.
    ///
    /// # Errors
    /// `Unavailable` if there is no free port.
    pub async fn serve(hub: Hub) -> Result<Self> {
        Self::serve_with(hub, None, Hub::serve).await
    }

    /// Serves a hub with a function of the test, such as that of a program with routes of its own. It has to
    /// end when the hub stops.
    ///
    /// # Errors
    /// `Unavailable` if there is no free port.
    pub async fn served_by<S>(hub: Hub, serve: impl FnOnce(Hub, TcpListener) -> S) -> Result<Self>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        Self::serve_with(hub, None, serve).await
    }

    /// Opens and starts a hub as a program does, including the repair of a damaged database.
    ///
    /// # Errors
    /// The hub's.
    pub async fn opened(config: Config) -> Result<Self> {
        Self::serve(Hub::open(config).await?).await
    }

    /// Checks the free space now, which the hub does every few seconds.
    ///
    /// # Errors
    /// The hub's.
    pub async fn check_free_space(&self) -> Result<()> {
        self.hub.check_free_space().await
    }

    /// Makes a backup now if one is due, which the hub checks every ten minutes.
    pub async fn back_up_if_due(&self) {
        self.hub.back_up_if_due().await;
    }

    /// Verifies the database now, which the hub does every week.
    pub async fn verify_database(&self) {
        self.hub.verify_database(false).await;
    }

    /// Deletes old data now, which the hub does every hour.
    ///
    /// # Errors
    /// The hub's.
    pub async fn expire_automatically(&self) -> Result<RetentionReport> {
        self.hub.expire_automatically().await
    }

    async fn on_store(
        config: Config,
        store: Arc<dyn store::Store>,
        clock: Arc<dyn Clock>,
        manual: Option<Arc<ManualClock>>,
    ) -> Result<Self> {
        Self::serve_with(Hub::start(config, store, clock).await?, manual, Hub::serve).await
    }

    async fn serve_with<S>(
        hub: Hub,
        manual: Option<Arc<ManualClock>>,
        serve: impl FnOnce(Hub, TcpListener) -> S,
    ) -> Result<Self>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let no_port = |error: std::io::Error| HubError::unavailable("no free port").caused_by(error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(no_port)?;
        let address = listener.local_addr().map_err(no_port)?;
        let serving = tokio::spawn(serve(hub.clone(), listener));
        Ok(Self { hub, address, clock: manual, serving })
    }

    /// The whole store, for reads and writes around the hub's operations.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn store::Store> {
        &self.hub.inner.store
    }

    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The address of the hub.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the hub: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates a token with this role, except `module`.
    ///
    /// # Errors
    /// The store's.
    pub async fn token(&self, role: Role) -> Result<String> {
        self.issue(role, None).await
    }

    /// Creates a token of a module.
    ///
    /// # Errors
    /// The store's.
    pub async fn module_token(&self, module_id: &ModuleId) -> Result<String> {
        self.issue(Role::Module, Some(module_id.clone())).await
    }

    async fn issue(&self, role: Role, module_id: Option<ModuleId>) -> Result<String> {
        let name = format!("{}-{}", role.as_str(), uuid::Uuid::now_v7());
        let name = UserName::new(name).map_err(|error| HubError::internal(error.to_string()))?;
        let now = self.hub.now().wall;
        let issued =
            token::issue(self.hub.inner.store.as_ref(), NewToken { name, role, module_id }, now).await?;
        Ok(issued.token)
    }

    /// Advances the clock and notifies the hub. Only with [`Self::with_manual_clock`]: the machine's clock
    /// cannot be controlled.
    pub fn advance(&self, by: Duration) {
        if let Some(clock) = &self.clock {
            clock.advance(by);
            self.hub.reevaluate_time();
        }
    }

    /// Sets the wall clock as NTP would.
    pub fn step_to(&self, now: Timestamp) {
        if let Some(clock) = &self.clock {
            clock.step_to(now);
            self.hub.reevaluate_time();
        }
    }

    /// Stops the hub.
    ///
    /// # Errors
    /// The store's.
    pub async fn stop(self) -> Result<()> {
        self.hub.shutdown().await?;
        self.serving.await.map_err(|error| HubError::internal("the accept loop failed").caused_by(error))
    }
}
