//! The embedded engine: one SQLite file (WAL, `synchronous=FULL`), one thread that writes, a few connections that read.
//!
//! Deliberately absent: SQL of one table in more than one file. A table's file knows its rows; this one only says which
//! side, writer or readers, does what.

mod buckets;
mod columns;
mod commands;
mod failure;
mod file;
mod modules;
mod people;
mod readers;
mod readings;
#[cfg(test)]
mod tests;
mod writer;

use std::time::Duration;

use async_trait::async_trait;
use iotpi_core::{
    Bucket, Command, CommandId, CommandReport, LeasedCommand, Manifest, ModuleId, Reading, Timestamp, Unit,
    UserName,
};
use rusqlite::Connection;
use serde_json::{Map, Value};

use self::{failure::Work, file::Place, readers::Readers, writer::Writer};
use super::{
    CommandOrder, LeaseTerms, ModuleRecord, Now, Page, PageRequest, ReadingQuery, Result, SecretHash,
    SeriesKey, Steady, Store, StoreError, Sweep, TokenRecord, UserRecord,
};

/// A store in one SQLite database.
#[derive(Debug)]
pub(super) struct Sqlite {
    /// Absent in memory, where the writer's connection is the only one. Dropped first: the last connection to close
    /// writes the WAL back, and a reader cannot.
    readers: Option<Readers>,
    writer: Writer,
}

impl Sqlite {
    /// Opens what follows `sqlite:` in a store URL: `///path/to/file.db` or `:memory:`.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`]; [`StoreError::Engine`] when the database cannot be opened, is another program's or
    /// was made by a newer hub.
    pub(super) async fn open(rest: &str) -> Result<Self> {
        let place = Place::parse(rest).ok_or_else(|| StoreError::BadUrl(format!("sqlite:{rest}")))?;
        let open = move || {
            let writer = Writer::start(place.open_writer()?)?;
            let mut connections = Vec::new();
            while connections.len() < readers::CONNECTIONS
                && let Some(connection) = place.open_reader()?
            {
                connections.push(connection);
            }
            let readers = (!connections.is_empty()).then(|| Readers::new(connections));
            Ok(Self { readers, writer })
        };
        tokio::task::spawn_blocking(open)
            .await
            .map_err(|error| StoreError::Engine { context: "open the database", source: error.into() })?
    }

    async fn write<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&Connection) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.write(context, work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        context: &'static str,
        query: impl FnOnce(&Connection) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        match &self.readers {
            Some(readers) => readers.read(context, query).await,
            None => self.writer.write(context, query).await,
        }
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn record(&self, new: Vec<Reading>, max_series: u64, now: Now) -> Result<Vec<ModuleId>> {
        self.write("record readings", move |db| readings::record(db, &new, max_series, now)).await
    }

    async fn series_units(&self) -> Result<Vec<(SeriesKey, Unit)>> {
        self.read("list series", readings::units).await
    }

    async fn readings(&self, query: &ReadingQuery, page: &PageRequest) -> Result<Page<Reading>> {
        let (query, page) = (query.clone(), page.clone());
        self.read("list records", move |db| readings::readings(db, &query, &page)).await
    }

    async fn buckets(
        &self,
        query: &ReadingQuery,
        width: Duration,
        page: &PageRequest,
    ) -> Result<Page<Bucket>> {
        let (query, page) = (query.clone(), page.clone());
        self.read("sum up records", move |db| buckets::buckets(db, &query, width, &page)).await
    }

    async fn newest(&self, module_id: Option<&ModuleId>, page: &PageRequest) -> Result<Page<Reading>> {
        let (module_id, page) = (module_id.cloned(), page.clone());
        self.read("list newest records", move |db| readings::newest(db, module_id.as_ref(), &page)).await
    }

    async fn recent(&self, series: &SeriesKey, count: u32) -> Result<Vec<Reading>> {
        let series = series.clone();
        self.read("list recent records", move |db| readings::recent(db, &series, count)).await
    }

    async fn register(&self, id: &ModuleId, manifest: &Manifest, now: Now) -> Result<ModuleRecord> {
        let (id, manifest) = (id.clone(), manifest.clone());
        self.write("register a module", move |db| modules::register(db, &id, &manifest, now)).await
    }

    async fn report_state(
        &self,
        id: &ModuleId,
        state: &Map<String, Value>,
        now: Now,
    ) -> Result<ModuleRecord> {
        let (id, state) = (id.clone(), state.clone());
        self.write("keep a module's state", move |db| modules::report_state(db, &id, &state, now)).await
    }

    async fn touch(&self, seen: &[(ModuleId, Timestamp)], now: Now) -> Result<()> {
        let seen = seen.to_vec();
        self.write("keep when modules were heard", move |db| modules::touch(db, &seen, now)).await
    }

    async fn module(&self, id: &ModuleId) -> Result<Option<ModuleRecord>> {
        let id = id.clone();
        self.read("read a module", move |db| modules::module(db, &id)).await
    }

    async fn modules(&self, page: &PageRequest) -> Result<Page<ModuleRecord>> {
        let page = page.clone();
        self.read("list modules", move |db| modules::modules(db, &page)).await
    }

    async fn remove_module(&self, id: &ModuleId) -> Result<()> {
        let id = id.clone();
        self.write("remove a module", move |db| modules::remove(db, &id)).await
    }

    async fn submit(&self, order: &CommandOrder, max_waiting: u64, now: Now) -> Result<Command> {
        let order = order.clone();
        self.write("submit a command", move |db| commands::submit(db, &order, max_waiting, now)).await
    }

    async fn claim(
        &self,
        module_id: &ModuleId,
        limit: u32,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Vec<LeasedCommand>> {
        let module_id = module_id.clone();
        self.write("claim commands", move |db| commands::claim(db, &module_id, limit, terms, now)).await
    }

    async fn finish(&self, module_id: &ModuleId, report: &CommandReport, now: Now) -> Result<Command> {
        let (module_id, report) = (module_id.clone(), report.clone());
        self.write("finish a command", move |db| commands::finish(db, &module_id, &report, now)).await
    }

    async fn cancel(&self, id: &CommandId, now: Now) -> Result<Command> {
        let id = id.clone();
        self.write("cancel a command", move |db| commands::cancel(db, &id, now)).await
    }

    async fn sweep_commands(&self, terms: LeaseTerms, now: Now) -> Result<Sweep> {
        self.write("sweep commands", move |db| commands::sweep(db, terms, now)).await
    }

    async fn clamp_deadlines(&self, terms: LeaseTerms, now: Now) -> Result<()> {
        self.write("clamp deadlines", move |db| commands::clamp(db, terms, now)).await
    }

    async fn command(&self, id: &CommandId) -> Result<Option<Command>> {
        let id = id.clone();
        self.read("read a command", move |db| commands::command(db, &id)).await
    }

    async fn commands(&self, module_id: &ModuleId, page: &PageRequest) -> Result<Page<Command>> {
        let (module_id, page) = (module_id.clone(), page.clone());
        self.read("list commands", move |db| commands::commands(db, &module_id, &page)).await
    }

    async fn add_first_user(&self, user: &UserRecord, now: Now) -> Result<()> {
        let user = user.clone();
        self.write("add the first user", move |db| people::add_first_user(db, &user, now)).await
    }

    async fn has_users(&self) -> Result<bool> {
        self.read("look for users", people::has_users).await
    }

    async fn user(&self, name: &UserName) -> Result<Option<UserRecord>> {
        let name = name.clone();
        self.read("read a user", move |db| people::user(db, &name)).await
    }

    async fn open_session(&self, secret: &SecretHash, user: &UserName, ends: Steady, now: Now) -> Result<()> {
        let (secret, user) = (*secret, user.clone());
        self.write("open a session", move |db| people::open_session(db, &secret, &user, ends, now)).await
    }

    async fn session(&self, secret: &SecretHash, now: Now) -> Result<Option<UserRecord>> {
        let secret = *secret;
        self.read("read a session", move |db| people::session(db, &secret, now)).await
    }

    async fn end_session(&self, secret: &SecretHash) -> Result<()> {
        let secret = *secret;
        self.write("end a session", move |db| people::end_session(db, &secret)).await
    }

    async fn add_token(&self, secret: &SecretHash, token: &TokenRecord) -> Result<()> {
        let (secret, token) = (*secret, token.clone());
        self.write("add a token", move |db| people::add_token(db, &secret, &token)).await
    }

    async fn token(&self, secret: &SecretHash) -> Result<Option<TokenRecord>> {
        let secret = *secret;
        self.read("read a token", move |db| people::token(db, &secret)).await
    }

    async fn touch_token(&self, id: &str, now: Now) -> Result<()> {
        let id = id.to_owned();
        self.write("keep that a token was used", move |db| people::touch_token(db, &id, now)).await
    }

    async fn tokens(&self, page: &PageRequest) -> Result<Page<TokenRecord>> {
        let page = page.clone();
        self.read("list tokens", move |db| people::tokens(db, &page)).await
    }

    async fn revoke_token(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.write("revoke a token", move |db| people::revoke_token(db, &id)).await
    }

    async fn hub_secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        let name = name.to_owned();
        self.write("keep a secret of the hub", move |db| people::hub_secret(db, &name, fresh)).await
    }

    async fn check(&self) -> Result<()> {
        // Takes the write lock and finds the engine unbroken; writes nothing, because health is asked for often.
        self.write("check the store", |_| Ok(())).await
    }

    async fn failed(&self) -> String {
        self.writer.failed().await
    }

    async fn close(&self) -> Result<()> {
        // Readers first, as when dropped.
        if let Some(readers) = &self.readers {
            readers.close().await;
        }
        self.writer.close().await
    }
}
