//! The wire types. They are also the types that the hub stores and the client returns.

pub(crate) mod camera;
pub(crate) mod channel_filter;
pub(crate) mod command;
pub(crate) mod command_id;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod frame;
pub(crate) mod gap;
pub(crate) mod id;
mod jpeg;
pub(crate) mod live_frame;
pub(crate) mod manifest;
pub(crate) mod mixed_replace;
pub(crate) mod new_reading;
pub(crate) mod page;
pub(crate) mod protocol;
pub(crate) mod reading;
pub(crate) mod recording;
pub(crate) mod role;
mod tolerant;
pub(crate) mod unit;
mod word;
