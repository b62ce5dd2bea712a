//! The hub as its clients see it: over real HTTP and WebSockets on loopback, with a real store.
#![allow(missing_docs, clippy::unwrap_used)]

mod api;
mod auth;
mod camera;
mod commands;
mod connections;
mod corruption;
mod dashboard;
mod faults;
mod golden;
mod hosts;
mod live;
mod modules;
mod mutate;
mod operations;
mod permissions;
mod problems;
mod sensors;
