//! Modules in the store.

use async_trait::async_trait;
use iotpi_core::{
    Manifest, ModuleId, Timestamp,
    model::{gap::Delivery, page::Page},
};
use serde_json::{Map, Value};

use super::{Now, PageRequest, Result};

/// A stored module. Its health is derived, never stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleRecord {
    /// The id of the module.
    pub id: ModuleId,
    /// The manifest; `None` if it never registered.
    pub manifest: Option<Manifest>,
    /// The last contact, as of the last [`touch`](WriteModules::touch).
    pub last_seen_at: Option<Timestamp>,
    /// The first contact.
    pub registered_at: Timestamp,
    /// The last reported state, and the time of the report.
    pub state: Option<(Map<String, Value>, Timestamp)>,
    /// The account of its numbered readings; `None` if it does not number them.
    pub delivery: Option<Delivery>,
}

/// Reads modules. The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait ReadModules {
    /// One module.
    async fn module(&self, id: &ModuleId) -> Result<Option<ModuleRecord>>;

    /// Modules by id.
    async fn modules(&self, page: &PageRequest) -> Result<Page<ModuleRecord>>;
}

/// Registers, updates and removes modules. The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait WriteModules {
    /// Stores a module's manifest; creates the module if necessary.
    async fn register(&self, id: &ModuleId, manifest: &Manifest, now: Now) -> Result<ModuleRecord>;

    /// Stores the last contacts of modules; creates unknown ones. The last call wins, even over a later time:
    /// the clock was set back since.
    async fn touch(&self, seen: &[(ModuleId, Timestamp)], now: Now) -> Result<()>;

    /// Removes a module with its series, readings, commands, tokens and the index of its recordings, whose
    /// files get tombstones. When it returns, nothing of the module can be read any more, and a module of the
    /// same id starts empty. The rest of its readings is deleted in steps that do not delay other writes,
    /// also after a restart.
    ///
    /// Errors: [`NotFound`](super::StoreError::NotFound).
    async fn remove_module(&self, id: &ModuleId) -> Result<()>;
}
