//! What the client, the runner and the ready-made modules promise, on a paused clock and on loopback.
#![allow(missing_docs, clippy::unwrap_used)]

mod actuator_module;
mod camera_module;
mod client;
mod frame_hub;
mod frame_publisher;
mod hazardous;
mod outbox;
mod runner;
mod safety_lease;
mod sensor_module;
mod signals;

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
