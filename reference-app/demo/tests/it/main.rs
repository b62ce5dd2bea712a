//! The programs as processes, and the allowed dependencies between crates.
#![allow(clippy::unwrap_used)]

mod crashes;
mod end_to_end;
mod layers;
mod module_kill;
mod once;
mod shutdown;
mod signals;
mod support;
mod thundering_herd;
mod tokens;
