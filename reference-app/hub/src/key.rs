//! `iotpi-hub key`: the key with which the hub signs JWTs and URLs.

use std::path::Path;

use anyhow::{Context, bail};
use clap::Subcommand;
use iotpi_hub::{auth, store};

use crate::config::Place;

/// What can be done with the key.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum KeyCommand {
    /// Replaces the key: every JWT and every signed URL ends, also on connections that are open. Sessions and tokens stay.
    ///
    /// A restored backup gets a new key by itself.
    Rotate,
}

/// Carries out the command on the store of that place.
pub fn run(place: &Place, command: KeyCommand) -> anyhow::Result<()> {
    let url = place.config(None)?.store;
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
