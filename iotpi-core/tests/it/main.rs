//! What the client, the runner and the ready-made modules promise, on a paused clock and on loopback.
#![allow(missing_docs, clippy::unwrap_used)]

mod client;
mod frame_publisher;
mod frame_hub;
mod hazardous;
mod actuator_module;
mod outbox;
mod sensor_module;
mod runner;
mod safety_lease;
mod signals;
mod camera_module;

use iotpi_core::{ErrorKind, ModuleId, Problem, testing::RecordingUplink};

fn hub() -> RecordingUplink {
    RecordingUplink::new(ModuleId::new("attic").unwrap())
}

fn problem(kind: ErrorKind) -> Problem {
    Problem {
        type_: format!("urn:iotpi:problem:{}", kind.as_str()),
        kind,
        title: "A problem".to_owned(),
        status: 418,
        detail: "because".to_owned(),
        pointer: None,
        choices: None,
        retry_after_secs: None,
        request_id: None,
    }
}
