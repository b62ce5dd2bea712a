//! The iotpi hub as a library: it stores readings, streams cameras, queues commands and serves the dashboard.
//!
//! Three layers: the transport ([`http`]) translates between clients and operations; the operations (methods
//! of [`Hub`]) hold the rules, and every write is one, with the [`Caller`](auth::Caller) who requests it; the
//! [`store`] persists.
//!
//! Deliberately absent: reading files or the environment, logging set-up, signal handling (the program's
//! responsibility), and any code of a module.
#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

mod admission;
pub mod auth;
mod clock;
mod commands;
mod config;
mod durable_file;
mod error;
mod events;
mod frames;
pub mod http;
mod hub;
mod issuer_presence;
mod lock;
pub mod maintenance;
mod metrics;
pub mod ops;
mod presence;
mod quotas;
mod recording;
#[cfg(feature = "sabotage")]
pub mod sabotage;
pub mod schema;
mod server;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod ticks;
mod wrong_clock;

pub use config::{
    AuthConfig, BackupConfig, CamerasConfig, CommitWindow, Config, HttpConfig, Limits, RetentionConfig,
    SeriesRetention, StorageConfig,
};
pub use error::{HubError, Result};
pub use events::{Events, RecvError, Subscriber, WireEvent};
pub use frames::PublishedFrame;
pub use hub::Hub;
pub use quotas::{ModuleUsage, Quota};
