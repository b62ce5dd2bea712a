//! Wire types, device traits, the typed client and the module runner of **iotpi**: Raspberry Pi systems of
//! independent modules and one hub.
#![forbid(unsafe_code)]
#![cfg_attr(all(feature = "client", feature = "log", feature = "schemars"), doc = include_str!("../README.md"))]
#![cfg_attr(feature = "document-features", doc = "\n# Features\n")]
#![cfg_attr(feature = "document-features", doc = document_features::document_features!())]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod any_error;
#[cfg(feature = "client")]
pub mod client;
pub mod device;
#[cfg(feature = "client")]
mod durable_file;
#[cfg(all(feature = "client", feature = "log", feature = "schemars"))]
pub mod guide;
#[cfg(feature = "log")]
pub mod log;
pub mod model;
#[cfg(feature = "client")]
pub mod module;
#[cfg(feature = "client")]
mod outage;
#[cfg(feature = "client")]
pub mod outbox;
pub mod processing;
#[cfg(feature = "client")]
mod random;
#[cfg(feature = "stop-signal")]
mod signals;
#[cfg(feature = "client")]
pub mod testing;
pub mod time;
pub mod uplink;

// The names that most programs need. Everything else has one path, in its module.
pub use any_error::AnyError;
pub use async_trait::async_trait;
pub use bytes;
#[cfg(feature = "client")]
pub use client::{HubClient, ReadingFilter};
pub use device::{Actuator, Camera, DeviceError, DeviceErrorKind, Sensor};
pub use model::{
    command::{Action, NewCommand},
    frame::Frame,
    id::{ActionName, Channel, ModuleId, SensorType},
    manifest::{ActionSpec, CameraSpec, Manifest},
    reading::{Outcome, Quantity, Reading, Sample},
    unit::Unit,
};
#[cfg(feature = "client")]
pub use module::{
    Actions, ActuatorModule, CameraModule, CompositeModule, Module, ModuleError, Recorder, Runner,
    SensorModule, camera, measure,
};
#[cfg(feature = "schemars")]
pub use schemars;
pub use serde_json;
#[cfg(feature = "stop-signal")]
pub use signals::stop_signal;
pub use time::{Clock, SystemClock, Timestamp};
pub use uplink::{Uplink, UplinkError};

// Compiles the Rust code in the project's documents.
#[cfg(all(doctest, feature = "client", feature = "log", feature = "schemars"))]
mod pages {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/howto/sensor.md")]
    struct AddASensor;
}
