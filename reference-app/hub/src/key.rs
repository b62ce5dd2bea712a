//! The command `iotpi-hub key`: the key with which the hub signs JWTs and URLs.

use std::path::Path;

use anyhow::{Context, bail};
use clap::Subcommand;
use iotpi_hub::{auth, store};

use crate::config::HubPaths;

/// Subcommands for the signing key.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum KeyCommand {
    /// Replaces the key: every JWT and every signed URL becomes invalid, also on open connections. Sessions
    /// and tokens remain valid.
    ///
    /// A restored backup gets a new key automatically.
    Rotate,
}

/// Runs the command on the store of the given hub.
pub fn run(paths: &HubPaths, command: KeyCommand) -> anyhow::Result<()> {
    let url = paths.config(None)?.store;
    if let Some(file) = store::file(&url).filter(|file| !Path::new(file).exists()) {
        bail!("there is no database at {}: name the hub's data folder with --data", file.display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = store::open(&url).await.with_context(|| format!("the store {url} cannot be used"))?;
        let done = match command {
            KeyCommand::Rotate => auth::rotate_key(store.as_ref()).await,
        };
        store.close().await?;
        Ok(done?)
    })
}
