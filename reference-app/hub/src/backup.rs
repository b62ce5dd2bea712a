//! The command `iotpi-hub backup`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use iotpi_core::SystemClock;
use iotpi_hub::{maintenance::backup, store};

use crate::config::HubPaths;

/// Options of `backup`.
#[derive(Debug, Args)]
pub struct Backup {
    #[command(flatten)]
    paths: HubPaths,
    /// The destination: a new file, or a folder, in which the file name gets a number and a date. Default:
    /// `backup.dir` of the config, else `backups` beside the database.
    #[arg(long, value_name = "FILE|DIR")]
    to: Option<PathBuf>,
}

/// Makes a backup and verifies it.
pub fn run(wanted: &Backup) -> anyhow::Result<()> {
    let config = wanted.paths.config(None)?;
    let database = wanted.paths.database(&config)?;
    let file = wanted.to.as_ref().filter(|to| !to.is_dir());
    if let Some(file) = file.filter(|file| file.exists()) {
        bail!("{} is there already: a backup replaces nothing", file.display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let made = runtime.block_on(async {
        if let Some(file) = file {
            return store::backup(&database, file).await.map(|made| (file.clone(), made.rows));
        }
        let folder = wanted.to.clone().unwrap_or_else(|| backup::folder(&config.backup, &database));
        // A manual backup does not delete older ones.
        let made = backup::make(&database, &folder, u32::MAX, SystemClock::shared().now()).await;
        made.map(|(file, made)| (file.path, made.rows))
    });
    let (path, rows) = made.with_context(|| format!("no backup of {}", database.display()))?;
    let many: u64 = rows.iter().map(|(_, rows)| rows).sum();
    println!("{}", path.display());
    eprintln!("verified: {many} rows in {} tables, as in {}", rows.len(), database.display());
    if on_the_same_device(&database, &path) {
        eprintln!("it lies on the same device as the database: copy it elsewhere too");
    }
    Ok(())
}

fn on_the_same_device(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    matches!((one.metadata(), other.metadata()), (Ok(one), Ok(other)) if one.dev() == other.dev())
}
