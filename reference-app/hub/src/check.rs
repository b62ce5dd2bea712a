//! The command `iotpi-hub check`.

use anyhow::{Context, bail};
use clap::Args;
use iotpi_hub::store;

use crate::config::HubPaths;

/// Options of `check`.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    paths: HubPaths,
    /// Checks everything, including indexes and the content of chunks; takes minutes for a large database.
    #[arg(long)]
    deep: bool,
}

/// Checks the database.
pub fn run(wanted: &Check) -> anyhow::Result<()> {
    let database = wanted.paths.database(&wanted.paths.config(None)?)?;
    if !database.exists() {
        bail!("there is no database at {}", database.display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime
        .block_on(store::verify(&database, wanted.deep))
        .with_context(|| format!("{} cannot be checked", database.display()))?;
    println!("{}: version {}", database.display(), found.version);
    for (table, rows) in &found.rows {
        println!("{rows:>12}  {table}");
    }
    if found.is_sound() {
        println!("{}", if found.deep { "sound" } else { "sound, as far as a quick look tells" });
        return Ok(());
    }
    for fault in &found.faults {
        eprintln!("{fault}");
    }
    bail!(
        "the database is damaged: the next start of the hub moves it away and restores the newest backup; nothing is deleted"
    )
}
