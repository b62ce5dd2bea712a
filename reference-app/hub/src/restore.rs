//! The command `iotpi-hub restore`.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use iotpi_core::SystemClock;
use iotpi_hub::{maintenance, store::StoreError};

use crate::config::HubPaths;

/// Options of `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    #[command(flatten)]
    paths: HubPaths,
    /// Replaces an existing database: moves it with all its files into a folder beside it. Nothing is
    /// deleted.
    #[arg(long)]
    force: bool,
    /// The backup file.
    #[arg(value_name = "FILE")]
    backup: PathBuf,
}

/// Restores the backup.
pub fn run(wanted: &Restore) -> anyhow::Result<()> {
    let database = wanted.paths.database(&wanted.paths.config(None)?)?;
    let there = database.exists();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let now = SystemClock::shared().now();
    let restored = runtime.block_on(maintenance::restore(&database, &wanted.backup, wanted.force, now));
    let aside = restored.map_err(|error| match error {
        StoreError::Conflict(why) if why.starts_with("a hub has") => {
            anyhow!("{why}: stop it first (`sudo systemctl stop iotpi-hub`)")
        }
        StoreError::Conflict(why) if why.starts_with("there is a database") => {
            anyhow!("{why}: --force moves it into a folder beside it and restores the backup")
        }
        error => anyhow::Error::new(error),
    });
    let aside = aside.with_context(|| format!("{} was not restored", wanted.backup.display()))?;
    println!("{}", database.display());
    if there {
        eprintln!("what was there is in {}", aside.display());
    }
    eprintln!("modules send again what the backup does not have, as far as they still keep it");
    eprintln!(
        "at its next start the hub ends all sessions, JWTs and signed URLs; tokens that were revoked stay revoked"
    );
    eprintln!(
        "passwords and users are those of the backup: look through `iotpi-hub user list`, and set again the passwords that were \
         changed since"
    );
    Ok(())
}
