//! The rooms: what can be done, who may, and what follows from it.

pub mod auth;
pub mod commands;
mod deliveries;
mod frames;
pub(crate) mod health;
mod modules;
mod present;
pub mod readings;
mod recordings;
pub(crate) mod storage;
