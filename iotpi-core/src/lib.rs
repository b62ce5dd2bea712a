//! The vocabulary, traits, typed client and module runner of **iotpi**: Raspberry Pi systems made of independent
//! modules that talk to one hub.
#![cfg_attr(feature = "client", doc = include_str!("../README.md"))]

pub use async_trait::async_trait;

mod command;
mod device;
mod error;
mod event;
mod frame;
mod id;
mod manifest;
mod page;
mod reading;
mod time;
mod unit;
mod uplink;

pub use command::*;
pub use device::*;
pub use error::*;
pub use event::*;
pub use frame::*;
pub use id::*;
pub use manifest::*;
pub use page::*;
pub use reading::*;
pub use time::*;
pub use unit::*;
pub use uplink::*;

#[cfg(feature = "client")]
mod module;
#[cfg(feature = "client")]
pub use module::*;
