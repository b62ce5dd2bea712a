//! The embedded engine: one SQLite file (WAL, `synchronous=FULL`), one thread that writes, a few connections that read.
//!
//! Deliberately absent: SQL of one table in more than one file. A table's file knows its rows; this one only says which
//! side, writer or readers, does what.

mod columns;
mod commands;
mod engine;
mod failure;
mod file;
mod file_watch;
mod files;
mod frame_index;
mod maintenance;
mod module_removal;
mod modules;
mod notes;
mod readers;
pub(crate) mod recovery;
mod reserve;
mod series;
#[cfg(test)]
mod tests;
mod throttle;
mod users;
mod varint;
mod writer;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use iotpi_core::{
    Bucket, Command, CommandId, CommandReport, DeliveryAccount, Gap, LeaseId, LeasedCommand, Manifest,
    ModuleId, NewGap, Reading, Timestamp, Unit, UserName,
};
use rusqlite::{Connection, config::DbConfig};
use serde_json::{Map, Value};

use self::{
    file_watch::FileWatch,
    series::{boundary, buckets, gaps, memtable, merge, page, readings, rollups},
    writer::WriteContext,
};
use super::{
    BackedUp, CommandHistory, CommandOrder, DiskUse, Eviction, ExpiryPlan, ExpiryReport, GapQuery,
    LeaseTerms, ModuleRecord, Now, Page, PageRequest, ReadingQuery, Recorded, Result, SecretHash, SeriesKey,
    Steady, Store, StoreError, SubmitOutcome, Sweep, TokenRecord, UserListing, UserRecord, Verification,
    WatchedIssuer, end_us,
};

use crate::lock::lock;
use iotpi_core::Role;

pub(crate) use self::files::{RESTORED, with_suffix};
pub(super) use self::{engine::Sqlite, file::database_path};

#[async_trait]
impl Store for Sqlite {
    async fn record(&self, new: Vec<Reading>, max_series: u64, now: Now) -> Result<Recorded> {
        let record = move |tx: &mut WriteContext<'_>| {
            let (db, ingest) = tx.split();
            ingest.record(db, new, max_series, now)
        };
        let recorded = self.writer.write_together("record readings", record).await;
        recorded.inspect_err(|error| self.suspect(error))
    }

    async fn record_gap(&self, module_id: &ModuleId, gap: &NewGap, now: Now) -> Result<bool> {
        let (module_id, gap) = (module_id.clone(), gap.clone());
        let record = move |tx: &mut WriteContext<'_>| {
            let (db, ingest) = tx.split();
            ingest.record_gap(db, &module_id, &gap, now)
        };
        self.write("record a gap", record).await
    }

    async fn gaps(&self, query: &GapQuery, page: &PageRequest) -> Result<Page<Gap>> {
        let (query, page) = (query.clone(), page.clone());
        self.read("list gaps", move |db| gaps::gaps(db, &query, &page)).await
    }

    async fn delivery(&self, module_id: &ModuleId) -> Result<DeliveryAccount> {
        let total = lock(&self.dedup).account(module_id);
        let (id, memtable) = (module_id.clone(), Arc::clone(&self.memtable));
        let series = self.read("sum up deliveries", move |db| gaps::by_series(db, &memtable, &id)).await?;
        Ok(DeliveryAccount { module_id: module_id.clone(), total, series })
    }

    async fn series_units(&self) -> Result<Vec<(SeriesKey, Unit)>> {
        let units = |series: &memtable::AllSeries| {
            let unit = |one: &memtable::Series| {
                let key =
                    SeriesKey { module_id: one.name.module_id.clone(), sensor: one.name.quantity.name() };
                (key, one.unit())
            };
            series.after(None, None).map(unit).collect()
        };
        Ok(self.memtable.read(units))
    }

    async fn readings(&self, query: &ReadingQuery, page: &PageRequest) -> Result<Page<Reading>> {
        if let Some(known) = self.memtable.read(|series| readings::first_page_known(series, query, page)) {
            return Ok(known);
        }
        if query.module_id.is_some() {
            let (query, page, memtable) = (query.clone(), page.clone(), Arc::clone(&self.memtable));
            return self
                .read("list records", move |db| readings::readings(db, &memtable, &query, &page))
                .await;
        }
        let mut pager =
            page::ReadingPager::new(query, page).map_err(|fail| fail.into_store_error("list records"))?;
        while let Some(wanted) = self.memtable.read(|series| pager.go_on(series)) {
            // A view of the database of its own each time: it has to fit what is in memory then.
            let memtable = Arc::clone(&self.memtable);
            let run = self.read("list records", move |db| merge::merge(db, &memtable, &wanted)).await?;
            run.iter().for_each(|run| pager.take(run));
        }
        Ok(pager.page())
    }

    async fn buckets(
        &self,
        query: &ReadingQuery,
        width: Duration,
        page: &PageRequest,
    ) -> Result<Page<Bucket>> {
        let first_us = match self.memtable.read(|series| series.first_of(&query.sensor)) {
            Some(first_us) => first_us,
            None => {
                let (sensor, memtable) = (query.sensor.clone(), Arc::clone(&self.memtable));
                let first = move |db: &Connection| rollups::first_us(db, &memtable, &sensor);
                let first_us = self.read("find the first records", first).await?;
                self.memtable.set_first(&query.sensor, first_us)
            }
        };
        let (series, no_later) = self.memtable.read(|series| {
            let end = boundary::Boundary::at(end_us(query.not_after));
            (series.count(query), series.is_last(&query.sensor, &end))
        });
        // The latest time moves on with the clock: sums up to it would serve no later query.
        let asked = if no_later { query.listed() } else { query.clone() };
        let mut pager = buckets::BucketPager::new(&asked, width, page, series, first_us)
            .map_err(|fail| fail.into_store_error("sum up records"))?;
        loop {
            self.memtable.read(|series| pager.take_kept(series));
            let Some(step) = pager.step() else { break };
            // A view of the database of its own each time: it has to fit what is in memory then.
            let (memtable, asked) = (Arc::clone(&self.memtable), step.clone());
            let summed =
                self.read("sum up records", move |db| rollups::sum_step(db, &memtable, &asked)).await?;
            pager.take(&step, summed);
        }
        Ok(pager.page())
    }

    async fn newest(
        &self,
        module_id: Option<&ModuleId>,
        latest: Option<Timestamp>,
        page: &PageRequest,
    ) -> Result<Page<Reading>> {
        let known = self.memtable.read(|series| readings::newest_known(series, module_id, latest, page));
        if let Some(known) = known.map_err(|fail| fail.into_store_error("list newest records"))? {
            return Ok(known);
        }
        let (module_id, page, memtable) = (module_id.cloned(), page.clone(), Arc::clone(&self.memtable));
        let newest =
            move |db: &Connection| readings::newest(db, &memtable, module_id.as_ref(), latest, &page);
        self.read("list newest records", newest).await
    }

    async fn recent(
        &self,
        series: &SeriesKey,
        count: u32,
        latest: Option<Timestamp>,
    ) -> Result<Vec<Reading>> {
        if let Some(known) = self.memtable.read(|all| readings::recent_known(all, series, count, latest)) {
            return Ok(known);
        }
        let (series, memtable) = (series.clone(), Arc::clone(&self.memtable));
        let recent = move |db: &Connection| readings::recent(db, &memtable, &series, count, latest);
        self.read("list recent records", recent).await
    }

    async fn register(&self, id: &ModuleId, manifest: &Manifest, now: Now) -> Result<ModuleRecord> {
        let (id, manifest) = (id.clone(), manifest.clone());
        let kept = self.write("register a module", move |db| modules::register(db, &id, &manifest, now));
        kept.await.map(|record| self.with_delivery(record))
    }

    async fn report_state(
        &self,
        id: &ModuleId,
        state: &Map<String, Value>,
        now: Now,
    ) -> Result<ModuleRecord> {
        let (id, state) = (id.clone(), state.clone());
        let kept = self.write("keep a module's state", move |db| modules::report_state(db, &id, &state, now));
        kept.await.map(|record| self.with_delivery(record))
    }

    async fn touch(&self, seen: &[(ModuleId, Timestamp)], now: Now) -> Result<()> {
        let seen = seen.to_vec();
        self.write("keep when modules were heard", move |db| modules::touch(db, &seen, now)).await
    }

    async fn module(&self, id: &ModuleId) -> Result<Option<ModuleRecord>> {
        let id = id.clone();
        let found = self.look_up("read a module", move |db| modules::module(db, &id)).await?;
        Ok(found.map(|record| self.with_delivery(record)))
    }

    async fn modules(&self, page: &PageRequest) -> Result<Page<ModuleRecord>> {
        let page = page.clone();
        let found = self.read("list modules", move |db| modules::modules(db, &page)).await?;
        Ok(found.map(|record| self.with_delivery(record)))
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

    async fn submit(&self, order: &CommandOrder, max_waiting: u64, now: Now) -> Result<SubmitOutcome> {
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

    async fn start(
        &self,
        module_id: &ModuleId,
        id: &CommandId,
        lease: &LeaseId,
        terms: LeaseTerms,
        now: Now,
    ) -> Result<Command> {
        let (module_id, id, lease) = (module_id.clone(), id.clone(), lease.clone());
        self.write("start a command", move |db| commands::start(db, &module_id, &id, &lease, terms, now))
            .await
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

    async fn prune_commands(&self, history: CommandHistory, now: Now) -> Result<u64> {
        // Found by a reader, so that the search holds up no write. What has ended stays as it is meanwhile.
        let ended =
            self.read("find commands to forget", move |db| commands::prunable(db, history, now)).await?;
        if ended.is_empty() {
            return Ok(0);
        }
        self.write("forget commands", move |db| commands::forget(db, &ended)).await
    }

    async fn watched_issuer(&self, module_id: &ModuleId, id: &CommandId) -> Result<Option<WatchedIssuer>> {
        let (module_id, id) = (module_id.clone(), id.clone());
        self.look_up("read a command's issuer", move |db| commands::watched_issuer(db, &module_id, &id)).await
    }

    async fn command(&self, id: &CommandId) -> Result<Option<Command>> {
        let id = id.clone();
        self.look_up("read a command", move |db| commands::command(db, &id)).await
    }

    async fn commands(&self, module_id: &ModuleId, page: &PageRequest) -> Result<Page<Command>> {
        let (module_id, page) = (module_id.clone(), page.clone());
        self.read("list commands", move |db| commands::commands(db, &module_id, &page)).await
    }

    async fn add_first_user(&self, user: &UserRecord, now: Now) -> Result<()> {
        let user = user.clone();
        self.write("add the first user", move |db| users::add_first_user(db, &user, now)).await
    }

    async fn add_user(&self, user: &UserRecord, now: Now) -> Result<()> {
        let user = user.clone();
        self.write("add a user", move |db| users::add_user(db, &user, now)).await
    }

    async fn set_password(&self, name: &UserName, password_hash: &str) -> Result<()> {
        let (name, password_hash) = (name.clone(), password_hash.to_owned());
        self.write("set a password", move |db| users::set_password(db, &name, &password_hash)).await
    }

    async fn set_role(&self, name: &UserName, role: Role) -> Result<()> {
        let name = name.clone();
        self.write("set a user's role", move |db| users::set_role(db, &name, role)).await
    }

    async fn remove_user(&self, name: &UserName) -> Result<()> {
        let name = name.clone();
        self.free("remove a user", move |db: &mut WriteContext<'_>| users::remove_user(db, &name)).await
    }

    async fn users(&self, page: &PageRequest, now: Now) -> Result<Page<UserListing>> {
        let page = page.clone();
        self.read("list users", move |db| users::users(db, &page, now)).await
    }

    async fn has_users(&self) -> Result<bool> {
        self.look_up("look for users", users::has_users).await
    }

    async fn user(&self, name: &UserName) -> Result<Option<UserRecord>> {
        let name = name.clone();
        self.look_up("read a user", move |db| users::user(db, &name)).await
    }

    async fn open_session(&self, secret: &SecretHash, user: &UserName, ends: Steady, now: Now) -> Result<()> {
        let (secret, user) = (*secret, user.clone());
        self.free("open a session", move |db: &mut WriteContext<'_>| {
            users::open_session(db, &secret, &user, ends, now)
        })
        .await
    }

    async fn session(&self, secret: &SecretHash, now: Now) -> Result<Option<UserRecord>> {
        let secret = *secret;
        self.look_up("read a session", move |db| users::session(db, &secret, now)).await
    }

    async fn clamp_sessions(&self, latest: Steady) -> Result<()> {
        self.write("clamp sessions", move |db| users::clamp_sessions(db, latest)).await
    }

    async fn end_session(&self, secret: &SecretHash) -> Result<()> {
        let secret = *secret;
        self.free("end a session", move |db: &mut WriteContext<'_>| users::end_session(db, &secret)).await
    }

    async fn add_token(&self, secret: &SecretHash, token: &TokenRecord) -> Result<()> {
        let (secret, token) = (*secret, token.clone());
        self.write("add a token", move |db| users::add_token(db, &secret, &token)).await
    }

    async fn token(&self, secret: &SecretHash) -> Result<Option<TokenRecord>> {
        let secret = *secret;
        self.look_up("read a token", move |db| users::token(db, &secret)).await
    }

    async fn touch_token(&self, id: &str, now: Now) -> Result<()> {
        let id = id.to_owned();
        self.write("keep that a token was used", move |db| users::touch_token(db, &id, now)).await
    }

    async fn tokens(&self, page: &PageRequest) -> Result<Page<TokenRecord>> {
        let page = page.clone();
        self.read("list tokens", move |db| users::tokens(db, &page)).await
    }

    async fn revoke_token(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.free("revoke a token", move |db: &mut WriteContext<'_>| users::revoke_token(db, &id)).await
    }

    async fn hub_secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        let name = name.to_owned();
        self.write("keep a secret of the hub", move |db| users::hub_secret(db, &name, fresh)).await
    }

    async fn read_hub_secret(&self, name: &str) -> Result<Option<[u8; 32]>> {
        let name = name.to_owned();
        self.read("read a secret of the hub", move |db| users::read_hub_secret(db, &name)).await
    }

    async fn replace_hub_secret(&self, name: &str, fresh: [u8; 32]) -> Result<()> {
        let name = name.to_owned();
        self.write("replace a secret of the hub", move |db| users::replace_hub_secret(db, &name, fresh)).await
    }

    async fn tend(&self, now: Now) -> Result<()> {
        let compact = move |tx: &mut WriteContext<'_>| {
            tx.ingest.compact_if_old(now);
            Ok(())
        };
        self.write("compact the WAL", compact).await?;
        self.make_reserve().await
    }

    async fn settle(&self) -> Result<()> {
        while self.memtable.read(memtable::AllSeries::records) > 0 {
            // Each compaction takes what is committed, so that each turn is a write of its own.
            let compact = |tx: &mut WriteContext<'_>| {
                tx.ingest.compact_all();
                Ok(())
            };
            self.write("compact the WAL", compact).await?;
        }
        while self.write("delete obsolete rows", |tx| Ok(tx.ingest.is_deleting())).await? {}
        Ok(())
    }

    async fn expire(&self, plan: &ExpiryPlan, dry_run: bool) -> Result<ExpiryReport> {
        self.expire_by_steps(plan, dry_run).await
    }

    async fn thin(&self, thinning: Eviction, now: Now) -> Result<u32> {
        self.thin_by_steps(thinning, now).await
    }

    async fn disk_use(&self) -> Result<DiskUse> {
        self.measure().await
    }

    async fn verify(&self, deep: bool) -> Result<Verification> {
        self.look_through(deep).await
    }

    async fn backup(&self, to: &Path) -> Result<BackedUp> {
        self.write("check the store", |_| Ok(())).await?;
        let Some(file) = &self.file else {
            return Err(StoreError::Conflict("what is kept in memory has no backup".to_owned()));
        };
        recovery::backup(file, to).await.inspect_err(|error| self.suspect(error))
    }

    async fn note(&self, name: &str) -> Result<Option<String>> {
        let name = name.to_owned();
        self.look_up("read a note", move |db| notes::note(db, &name)).await
    }

    async fn keep_note(&self, name: &str, text: &str) -> Result<()> {
        let (name, text) = (name.to_owned(), text.to_owned());
        self.write("keep a note", move |db| notes::keep(db, &name, &text)).await
    }

    fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    async fn check(&self) -> Result<()> {
        self.check_files().await
    }

    fn take_unverified(&self) -> bool {
        self.file_watch.as_ref().is_some_and(FileWatch::take_unverified)
    }

    async fn failed(&self) -> String {
        self.writer.failed().await
    }

    async fn close(&self) -> Result<()> {
        if self.suspect.get().is_some() {
            // As the writer does when it is broken itself.
            let leave = |db: &mut WriteContext<'_>| {
                Ok(db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?)
            };
            let _ = self.writer.write("leave what is there", leave).await;
        }
        // Readers first, as when dropped.
        if let Some(readers) = &self.readers {
            readers.close().await;
        }
        if let Some(lookups) = &self.lookups {
            lookups.close().await;
        }
        self.writer.close().await
    }
}
