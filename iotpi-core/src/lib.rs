//! The vocabulary, traits, typed client and module runner of **iotpi**: Raspberry Pi systems made of independent
//! modules that talk to one hub.
#![forbid(unsafe_code)]
#![cfg_attr(feature = "client", doc = include_str!("../README.md"))]

pub use async_trait::async_trait;

mod camera;
mod command;
mod device;
mod error;
mod event;
mod frame;
mod gap;
mod id;
mod invalid_timestamp;
mod jpeg;
mod live_frame;
mod manifest;
mod mixed_replace;
mod new_reading;
mod page;
mod reading;
mod recording;
mod time;
mod unit;
mod uplink;

pub use camera::*;
pub use command::*;
pub use device::*;
pub use error::*;
pub use event::*;
pub use frame::*;
pub use gap::*;
pub use id::*;
pub use invalid_timestamp::*;
pub use live_frame::*;
pub use manifest::*;
pub use mixed_replace::*;
pub use new_reading::*;
pub use page::*;
pub use reading::*;
pub use recording::*;
pub use time::*;
pub use unit::*;
pub use uplink::*;

#[cfg(feature = "client")]
mod with_client {
    pub use crate::{
        backoff::*, client::*, film::*, module::*, obeying::*, outbox::*, polling::*, runner::*,
        streaming::*, together::*,
    };
}
#[cfg(feature = "client")]
mod backoff;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod film;
#[cfg(feature = "client")]
mod hub_clock;
#[cfg(feature = "client")]
mod journal;
#[cfg(feature = "client")]
mod module;
#[cfg(feature = "client")]
mod obeying;
#[cfg(feature = "client")]
mod outbox;
#[cfg(feature = "client")]
mod polling;
#[cfg(feature = "client")]
mod runner;
#[cfg(feature = "client")]
mod safety_lease;
#[cfg(feature = "client")]
mod sending;
#[cfg(feature = "stop-signal")]
mod signals;
#[cfg(feature = "client")]
mod streaming;
#[cfg(feature = "client")]
pub mod testing;
#[cfg(feature = "client")]
mod together;
#[cfg(feature = "stop-signal")]
pub use signals::stop_signal;
#[cfg(feature = "client")]
pub use with_client::*;

// The Rust in the project's own pages compiles, too.
#[cfg(all(doctest, feature = "client"))]
mod pages {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/howto/sensor.md")]
    struct AddASensor;
}
