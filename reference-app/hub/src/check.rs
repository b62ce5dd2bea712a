//! `iotpi-hub check`.

use anyhow::{Context, bail};
use clap::Args;
use iotpi_hub::store;

use crate::config::Place;

/// What `check` can be told.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    place: Place,
    /// Looks at everything, indexes and the content of chunks included; takes minutes for a large database.
    #[arg(long)]
    deep: bool,
}

/// Looks through the database.
pub fn run(wanted: &Check) -> anyhow::Result<()> {
    let database = wanted.place.database(&wanted.place.config(None)?)?;
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
        "the database is damaged: the next start of the hub puts it aside and restores the newest backup; nothing is deleted"
    )
}
