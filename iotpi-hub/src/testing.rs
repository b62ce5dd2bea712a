//! A real hub on a free port, for the tests of programs that talk to one.
//!
//! Nothing is imitated: the store is SQLite, the wire is loopback TCP. Only the clock may be one that a test sets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use iotpi_core::{Clock, ManualClock, ModuleId, SystemClock, Timestamp, UserName};
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
    /// A hub with a store in memory and the default config.
    ///
    /// # Errors
    /// The hub's.
    pub async fn start() -> Result<Self> {
        Self::with_config(Config::default()).await
    }

    /// A hub with a store in memory and this config; its `listen` and `store` are not looked at.
    ///
    /// # Errors
    /// The hub's.
    pub async fn with_config(config: Config) -> Result<Self> {
        Self::on_store(config, store::open("sqlite::memory:").await?, SystemClock::shared(), None).await
    }

    /// The same on a clock that stands still until [`Self::advance`].
    ///
    /// # Errors
    /// The hub's.
    pub async fn with_manual_clock(config: Config, now: Timestamp) -> Result<Self> {
        let clock = ManualClock::at(now);
        Self::on_store(config, store::open("sqlite::memory:").await?, clock.clone(), Some(clock)).await
    }

    /// A hub that keeps what it has under this store URL.
    ///
    /// # Errors
    /// The hub's.
    pub async fn with_store(config: Config, url: &str) -> Result<Self> {
        Self::on_store(config, store::open(url).await?, SystemClock::shared(), None).await
    }

    /// A hub that keeps what it has under this store URL, on a clock that stands still and a machine that answers as it is told.
    ///
    /// # Errors
    /// The hub's.
    pub async fn on_machine(config: Config, url: &str, machine: Machine, now: Timestamp) -> Result<Self> {
        let clock = ManualClock::at(now);
        let hub = Hub::start_on(config, store::open(url).await?, clock.clone(), machine).await?;
        Self::serve(hub, Some(clock)).await
    }

    /// The hub opened as a program opens it, with all that is done about a damaged database.
    ///
    /// # Errors
    /// The hub's.
    pub async fn opened(config: Config) -> Result<Self> {
        Self::serve(Hub::open(config).await?, None).await
    }

    /// Looks now how much room there is, which the hub does every few seconds.
    ///
    /// # Errors
    /// The hub's.
    pub async fn look_for_room(&self) -> Result<()> {
        self.hub.check_free_space().await
    }

    /// Makes a backup now if one is due, for which the hub looks every ten minutes.
    pub async fn look_for_backup(&self) {
        self.hub.back_up_if_due().await;
    }

    /// Looks now through the database, which the hub does every week.
    pub async fn look_for_damage(&self) {
        self.hub.verify_database(false).await;
    }

    /// Removes now what is old, which the hub does every hour.
    ///
    /// # Errors
    /// The hub's.
    pub async fn expire_by_itself(&self) -> Result<RetentionReport> {
        self.hub.expire_automatically().await
    }

    async fn on_store(
        config: Config,
        store: Arc<dyn store::Store>,
        clock: Arc<dyn Clock>,
        manual: Option<Arc<ManualClock>>,
    ) -> Result<Self> {
        Self::serve(Hub::start(config, store, clock).await?, manual).await
    }

    async fn serve(hub: Hub, manual: Option<Arc<ManualClock>>) -> Result<Self> {
        let no_port = |error: std::io::Error| HubError::unavailable("no free port").caused_by(error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(no_port)?;
        let address = listener.local_addr().map_err(no_port)?;
        let serving = tokio::spawn(hub.clone().serve(listener));
        Ok(Self { hub, address, clock: manual, serving })
    }

    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Where it is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is served: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A fresh token of that role, `module` excepted.
    ///
    /// # Errors
    /// The store's.
    pub async fn token(&self, role: Role) -> Result<String> {
        self.issue(role, None).await
    }

    /// A fresh token of a module.
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
        let issued = token::issue(self.hub.store().as_ref(), NewToken { name, role, module_id }, now).await?;
        Ok(issued.token)
    }

    /// Lets time pass, and the hub notice. Only with [`Self::with_manual_clock`]; a machine's clock cannot be told.
    pub fn advance(&self, by: Duration) {
        if let Some(clock) = &self.clock {
            clock.advance(by);
            self.hub.reevaluate_time();
        }
    }

    /// Sets the wall clock, as NTP would.
    pub fn step_to(&self, now: Timestamp) {
        if let Some(clock) = &self.clock {
            clock.step_to(now);
            self.hub.reevaluate_time();
        }
    }

    /// Stops the hub in order.
    ///
    /// # Errors
    /// The store's.
    pub async fn stop(self) -> Result<()> {
        self.hub.shutdown().await?;
        self.serving.await.map_err(|error| HubError::internal("the accept loop failed").caused_by(error))
    }
}
