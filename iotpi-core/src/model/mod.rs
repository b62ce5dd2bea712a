//! The wire types, one subject a module. They are also the types that the hub stores and the client returns.
//!
//! Types that a hub sends ignore unknown fields and have a variant `Other` for words of a newer hub; types that
//! it receives refuse both. [`docs/ref/compatibility.md`](https://github.com/iotpi/iotpi/blob/main/docs/ref/compatibility.md)
//! says what a version promises.

pub mod camera;
pub(crate) mod channel_filter;
pub mod command;
pub(crate) mod command_id;
pub mod error;
pub mod event;
pub mod frame;
pub mod gap;
pub mod id;
pub(crate) mod idempotency_key;
mod jpeg;
pub(crate) mod live_frame;
pub mod manifest;
pub mod mixed_replace;
pub(crate) mod new_reading;
pub mod page;
pub mod protocol;
pub(crate) mod quantity;
pub mod reading;
pub mod recording;
pub mod role;
mod tolerant;
pub mod unit;
mod word;
