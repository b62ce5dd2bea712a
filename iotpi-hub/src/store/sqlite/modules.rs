//! Modules: their manifests, states and last contacts.

use async_trait::async_trait;
use iotpi_core::{Manifest, ModuleId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Sqlite,
    columns::{maybe_json, maybe_json_as, maybe_moment, moment, parsed},
    failure::EngineResult,
    module_removal,
    writer::WriteContext,
};
use crate::store::{
    BoxError, ModuleRecord, Now, Page, PageRequest, ReadModules, Result, StoreError, WriteModules,
    cursor::{self, List},
};

const COLUMNS: &str = "id, manifest, last_seen_at_us, registered_at_us, state, state_at_us";

/// Creates the module if necessary. Returns whether it is new.
pub(super) fn ensure(db: &Connection, id: &ModuleId, now: Now) -> EngineResult<bool> {
    let sql = "INSERT INTO modules (id, registered_at_us) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    Ok(db.prepare_cached(sql)?.execute(params![id.as_str(), now.wall.as_micros()])? == 1)
}

/// See [`WriteModules::register`](crate::store::WriteModules::register).
pub(super) fn register(
    db: &Connection,
    id: &ModuleId,
    manifest: &Manifest,
    now: Now,
) -> EngineResult<ModuleRecord> {
    ensure(db, id, now)?;
    let sql = format!("UPDATE modules SET manifest = ?2 WHERE id = ?1 RETURNING {COLUMNS}");
    Ok(db.prepare_cached(&sql)?.query_row(params![id.as_str(), json(manifest)?], record)?)
}

/// Stores a module's state; creates the module if necessary.
pub(super) fn set_state(
    db: &Connection,
    id: &ModuleId,
    state: &Map<String, Value>,
    now: Now,
) -> EngineResult<()> {
    ensure(db, id, now)?;
    let sql = "UPDATE modules SET state = ?2, state_at_us = ?3 WHERE id = ?1";
    db.prepare_cached(sql)?.execute(params![id.as_str(), json(state)?, now.wall.as_micros()])?;
    Ok(())
}

/// See [`WriteModules::touch`](crate::store::WriteModules::touch). The last one wins, also over a later time: that one came from a
/// clock that has been set back since.
pub(super) fn touch(db: &Connection, seen: &[(ModuleId, Timestamp)], now: Now) -> EngineResult<()> {
    let mut touch = db.prepare_cached("UPDATE modules SET last_seen_at_us = ?2 WHERE id = ?1")?;
    for (id, at) in seen {
        ensure(db, id, now)?;
        touch.execute(params![id.as_str(), at.as_micros()])?;
    }
    Ok(())
}

/// See [`ReadModules::module`](crate::store::ReadModules::module).
pub(super) fn module(db: &Connection, id: &ModuleId) -> EngineResult<Option<ModuleRecord>> {
    let sql = format!("SELECT {COLUMNS} FROM modules WHERE id = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([id.as_str()], record).optional()?)
}

/// See [`ReadModules::modules`](crate::store::ReadModules::modules).
pub(super) fn modules(db: &Connection, page: &PageRequest) -> EngineResult<Page<ModuleRecord>> {
    let list = List::new("modules", &());
    // Every id is greater than this, and this is greater than the id that holds the series of removed modules.
    let after = list.key::<String>(page)?.unwrap_or_else(|| "/".to_owned());
    let sql = format!("SELECT {COLUMNS} FROM modules WHERE id > ?1 ORDER BY id LIMIT ?2");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params![after, cursor::limit(page) + 1], record)?;
    Ok(list.page(rows.collect::<Result<_, _>>()?, page, |module| module.id.to_string()))
}

fn record(row: &Row<'_>) -> rusqlite::Result<ModuleRecord> {
    let state = maybe_json(row, 4)?;
    Ok(ModuleRecord {
        id: parsed(row, 0)?,
        manifest: maybe_json_as(row, 1, Manifest::from_stored_json)?,
        last_seen_at: maybe_moment(row, 2)?,
        registered_at: moment(row, 3)?,
        state: state.zip(maybe_moment(row, 5)?),
        // It is in memory; the caller adds it.
        delivery: None,
    })
}

/// A value as JSON text.
pub(super) fn json(value: &impl Serialize) -> EngineResult<String> {
    let failed = |error| StoreError::Engine { context: "write JSON", source: BoxError::from(error) };
    Ok(serde_json::to_string(value).map_err(failed)?)
}

#[async_trait]
impl ReadModules for Sqlite {
    async fn module(&self, id: &ModuleId) -> Result<Option<ModuleRecord>> {
        let id = id.clone();
        let found = self.look_up("read a module", move |db| module(db, &id)).await?;
        Ok(found.map(|record| self.with_delivery(record)))
    }

    async fn modules(&self, page: &PageRequest) -> Result<Page<ModuleRecord>> {
        let page = page.clone();
        let found = self.read("list modules", move |db| modules(db, &page)).await?;
        Ok(found.map(|record| self.with_delivery(record)))
    }
}

#[async_trait]
impl WriteModules for Sqlite {
    async fn register(&self, id: &ModuleId, manifest: &Manifest, now: Now) -> Result<ModuleRecord> {
        let (id, manifest) = (id.clone(), manifest.clone());
        let kept = self.write("register a module", move |db| register(db, &id, &manifest, now));
        kept.await.map(|record| self.with_delivery(record))
    }

    async fn touch(&self, seen: &[(ModuleId, Timestamp)], now: Now) -> Result<()> {
        let seen = seen.to_vec();
        self.write("store last contacts", move |db| touch(db, &seen, now)).await
    }

    async fn remove_module(&self, id: &ModuleId) -> Result<()> {
        let id = id.clone();
        loop {
            let id = id.clone();
            let step = move |tx: &mut WriteContext<'_>| {
                let (db, ingest) = tx.split();
                let gone = module_removal::step(db, &id)?;
                if gone {
                    ingest.remove_module(&id);
                }
                Ok(gone)
            };
            if self.free("remove a module", step).await? {
                return Ok(());
            }
        }
    }
}
