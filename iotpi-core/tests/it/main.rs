//! The client, the runner and the provided modules, with paused time and on loopback.
#![allow(missing_docs, clippy::unwrap_used)]

mod actuator_module;
mod camera_module;
mod client;
mod frame_hub;
mod frame_publisher;
mod hazardous;
mod outbox;
mod reports;
mod runner;
mod safety_lease;
mod sensor_module;
mod signals;
#[cfg(feature = "tls")]
mod tls;

use std::time::Duration;

use iotpi_core::{
    ModuleId,
    model::error::{ErrorKind, Problem},
    testing::RecordingUplink,
};

/// The longest wait on a process or a socket. It is far longer than a slow machine needs.
const LIMIT: Duration = Duration::from_secs(60);

/// Awaits an event, and panics if it does not occur.
async fn bounded<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, event).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
}

fn hub() -> RecordingUplink {
    RecordingUplink::new(ModuleId::new("attic").unwrap())
}

fn problem(kind: ErrorKind) -> Problem {
    Problem::new(kind, 418, "because")
}
