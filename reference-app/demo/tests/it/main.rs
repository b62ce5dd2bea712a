//! The shipped programs as processes, and who may import whom.
#![allow(clippy::unwrap_used)]

mod crashes;
mod demo;
mod endings;
mod herd;
mod killed;
mod layers;
mod once;
mod signals;
mod tokens;
mod travels;
