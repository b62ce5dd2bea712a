//! The hub as its clients see it: over real HTTP and WebSockets on loopback, with a real store.
#![allow(missing_docs, clippy::unwrap_used)]

mod auth;
mod cameras;
mod commands;
mod embedding;
mod field;
mod golden;
mod hostile;
mod http;
mod live;
mod modules;
mod readings;
mod recordings;
mod storage;
mod support;
