//! The command `iotpi-hub db`: direct access to the database with SQLite's own shell.

use std::{io::ErrorKind, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::config::HubPaths;

/// Subcommands for direct access to the database.
#[derive(Debug, Args)]
pub struct Db {
    #[command(flatten)]
    paths: HubPaths,
    #[command(subcommand)]
    command: DbCommand,
}

#[derive(Debug, Subcommand)]
enum DbCommand {
    /// Opens the database in the `sqlite3` program, read-only.
    Shell {
        /// Opens the database for writing. Stop the hub and make a backup first: the hub does not validate
        /// your changes.
        #[arg(long)]
        write: bool,
        /// Arguments for `sqlite3` after the database: SQL statements, or nothing for a prompt.
        #[arg(value_name = "SQL")]
        sql: Vec<String>,
    },
}

/// Replaces this process with the shell.
pub fn run(db: &Db) -> anyhow::Result<()> {
    let database = db.paths.database(&db.paths.config(None)?)?;
    if !database.exists() {
        bail!("there is no database at {}", database.display());
    }
    let DbCommand::Shell { write, sql } = &db.command;
    let mut shell = Command::new("sqlite3");
    if !write {
        shell.arg("-readonly");
    }
    let error = shell.arg(&database).args(sql).exec();
    match error.kind() {
        ErrorKind::NotFound => bail!(
            "the program sqlite3 is not installed: on a Raspberry Pi or Debian, `sudo apt install sqlite3`; then again"
        ),
        _ => Err(error).context("sqlite3 could not be started"),
    }
}
