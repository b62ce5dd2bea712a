//! The operations of the hub: their permissions, rules and consequences.

pub(crate) mod auth;
pub(crate) mod authorization;
pub(crate) mod commands;
mod deliveries;
mod frames;
pub(crate) mod health;
mod implied_units;
pub(crate) mod maintenance;
mod modules;
mod presence;
pub(crate) mod present;
mod quotas;
pub(crate) mod read_readings;
pub(crate) mod readings;
mod recordings;
mod start;
