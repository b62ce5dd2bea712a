//! The embedded engine: one SQLite file (WAL, `synchronous=FULL`), one thread that writes, a few connections that read.
//!
//! The traits of each resource are implemented in the file of its tables.
//!
//! Deliberately absent: SQL of one table in more than one file.

mod columns;
mod commands;
mod engine;
mod failure;
mod file;
mod file_watch;
mod files;
mod frame_index;
mod maintenance;
mod module_removal;
mod modules;
mod notes;
mod readers;
pub(crate) mod recovery;
mod reserve;
mod series;
#[cfg(test)]
mod tests;
mod throttle;
mod users;
mod varint;
mod writer;

pub(crate) use self::files::{RESTORED, with_suffix};
pub(super) use self::{engine::Sqlite, file::database_path};
