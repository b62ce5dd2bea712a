//! The iotpi hub as a library.

pub mod auth;
pub mod store;
