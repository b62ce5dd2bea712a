//! `iotpi-hub db`: the database by hand, with SQLite's own shell.

use std::{io::ErrorKind, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::config::Place;

/// What can be done with the database by hand.
#[derive(Debug, Args)]
pub struct Db {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: DbCommand,
}

#[derive(Debug, Subcommand)]
enum DbCommand {
    /// Opens it in the `sqlite3` program, to read only.
    Shell {
        /// Opens it to change it too. Stop the hub and make a backup first: what you change, the hub believes.
        #[arg(long)]
        write: bool,
        /// Given to `sqlite3` after the database: SQL, or nothing for a prompt.
        #[arg(value_name = "SQL")]
        sql: Vec<String>,
    },
}

/// Becomes the shell.
pub fn run(db: &Db) -> anyhow::Result<()> {
    let database = db.place.database(&db.place.config(None)?)?;
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
