//! The iotpi hub as a library: it stores readings, streams cameras, queues commands and serves the dashboard.
//!
//! # A hub
//!
//! ```
//! use iotpi_hub::{Config, Hub};
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let stopped = async {};
//! let config = Config { store: "sqlite::memory:".into(), ..Config::default() };
//! let hub = Hub::open(config).await?;
//! if let Some(code) = hub.first_admin_code().await? {
//!     println!("create the first admin with the code {code}");
//! }
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! println!("http://{}", listener.local_addr()?);
//! let serving = tokio::spawn(hub.clone().serve(listener));
//!
//! stopped.await; // until Ctrl-C, for example
//! hub.shutdown().await?;
//! serving.await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Config`] is plain data; every field has a default. [`Hub::open`] opens the store that it names and
//! repairs a damaged one, [`Hub::serve`] serves connections, [`Hub::shutdown`] ends both in order. A program
//! should also end when [`Hub::failed`] returns.
//!
//! # Routes of the program on the same port
//!
//! [`Hub::router`] is an [`axum::Router`]. Here the program has a route of its own, which identifies its
//! callers by the hub's sessions and tokens ([`auth::Caller`] is an extractor), and calls the hub directly:
//!
//! ```
//! use axum::{Router, extract::State, routing::get};
//! use iotpi_hub::{Hub, HubError, auth::Caller, store::PageRequest};
//!
//! async fn module_count(State(hub): State<Hub>, caller: Caller) -> Result<String, HubError> {
//!     caller.may_read()?;
//!     let modules = hub.store().modules(&PageRequest::default()).await?;
//!     Ok(modules.items.len().to_string())
//! }
//!
//! fn app(hub: &Hub) -> Router {
//!     Router::new()
//!         .route("/module-count", get(module_count))
//!         .with_state(hub.clone())
//!         .merge(hub.router())
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = iotpi_hub::Config { store: "sqlite::memory:".into(), ..Default::default() };
//! # let hub = Hub::open(config).await?;
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let app = app(&hub);
//! let serving = tokio::spawn(hub.clone().serve_router(listener, app));
//! # hub.shutdown().await?;
//! # serving.await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Hub::serve_router`] is the hub's accept loop, with its limits on connections. The hub can also be below
//! a path, and on a server of the program. [`Hub::router`] lists what that server lacks. The example
//! [`nested`](https://github.com/iotpi/iotpi/tree/main/iotpi-hub/examples/nested.rs) is a complete program.
//!
//! ```
//! # use axum::Router;
//! # use iotpi_hub::Hub;
//! use std::net::SocketAddr;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = iotpi_hub::Config { store: "sqlite::memory:".into(), ..Default::default() };
//! # let hub = Hub::open(config).await?;
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let app = Router::new().nest_service("/iotpi", hub.router());
//! let stopping = hub.stopping().clone().cancelled_owned();
//! let server = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
//!     .with_graceful_shutdown(stopping);
//! # hub.shutdown().await?;
//! server.await?;
//! # Ok(())
//! # }
//! ```
//!
//! # More
//!
//! - **Calling the hub**: every operation of the API is a method of [`Hub`]. Writes take the
//!   [`Caller`](auth::Caller) whose permissions they check. [`Hub::store`] has the reads, [`Hub::events`] the
//!   events.
//! - **Users of the program**: a middleware passes the callers that it has authenticated to the hub as
//!   [`auth::Authenticated`].
//! - **A store of the program**: [`Hub::start`] takes any [`Store`](store::Store). The example
//!   [`own_store`](https://github.com/iotpi/iotpi/tree/main/iotpi-hub/examples/own_store) wraps the store of
//!   the hub; with the feature `testing`, `store_contract!` generates the tests that each store has to pass.
//! - **Several hubs** in one process need databases of their own, and nothing else: no state is shared.
//! - **Tests** of the program: the feature `testing` has `testing::TestHub`, a hub on a free port.
//!
//! The library reads no files but those of the store, recordings and backups, and no environment variables.
//! It installs no signal handler and no subscriber for `tracing` events. All of these are up to the program.
//!
//! # Layers
//!
//! The transport translates between clients and operations; the operations, methods of [`Hub`], hold the
//! rules; the [`store`] persists.
#![cfg_attr(feature = "document-features", doc = "\n# Features\n")]
#![cfg_attr(feature = "document-features", doc = document_features::document_features!())]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod admission;
pub mod auth;
mod clock;
mod commands;
mod config;
mod durable_file;
mod error;
mod events;
mod frames;
mod http;
mod hub;
mod issuer_presence;
mod lock;
pub mod maintenance;
mod metrics;
mod ops;
mod presence;
mod quotas;
mod recording;
#[cfg(feature = "sabotage")]
#[doc(hidden)]
pub mod sabotage;
pub mod schema;
mod server;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod ticks;
mod wrong_clock;

pub use async_trait::async_trait;
pub use axum;
pub use config::{
    AuthConfig, BackupConfig, CamerasConfig, CommitWindow, Config, HttpConfig, Limits, RetentionConfig,
    SeriesRetention, StorageConfig,
};
pub use error::{HubError, Result};
pub use events::{Events, RecvError, Subscriber, WireEvent};
pub use frames::PublishedFrame;
pub use http::openapi;
pub use hub::Hub;
pub use iotpi_core;
pub use ipnet::IpNet;
pub use quotas::{ModuleUsage, Quota};
pub use tokio_util::sync::CancellationToken;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
