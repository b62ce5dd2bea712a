//! Expiry, eviction, verification and backup; the checks and the life of the engine.

use std::{fs, path::Path, sync::Arc};

use async_trait::async_trait;
use rusqlite::{Connection, config::DbConfig};

use super::{
    engine::Sqlite,
    failure::Failure,
    file_watch::FileWatch,
    files::with_suffix,
    notes,
    recovery::{self, verify},
    series::{eviction, expiry, gaps, memtable::AllSeries},
    users,
    writer::WriteContext,
};
use crate::store::{
    BackedUp, DiskUse, Eviction, ExpiryPlan, ExpiryReport, MaintainStore, Now, Result, StoreError,
    StoreStatus, Verification,
};

#[async_trait]
impl StoreStatus for Sqlite {
    fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    async fn disk_use(&self) -> Result<DiskUse> {
        let wal = self.file.as_deref().map(|file| with_suffix(file, "-wal"));
        self.read("measure the database", move |db| {
            let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
            let page = pragma("page_size")?;
            Ok(DiskUse {
                database_bytes: page.saturating_mul(pragma("page_count")?),
                wal_bytes: wal.and_then(|wal| fs::metadata(wal).ok()).map_or(0, |wal| wal.len()),
                reusable_bytes: page.saturating_mul(pragma("freelist_count")?),
            })
        })
        .await
    }

    async fn check(&self) -> Result<()> {
        // Takes the write lock, so that a failed writer is noticed, but writes nothing: health is checked often.
        // Damage that a reader or a verification found is reported here; the next start repairs it.
        let (file_watch, suspect) = (self.file_watch.clone(), Arc::clone(&self.suspect));
        let check = move |_: &mut WriteContext<'_>| match suspect.get() {
            Some(why) => Err(Failure::fatal(why).into()),
            None => file_watch.as_ref().map_or(Ok(()), FileWatch::check),
        };
        self.write("check the store", check).await
    }

    async fn failed(&self) -> String {
        self.writer.failed().await
    }
}

#[async_trait]
impl MaintainStore for Sqlite {
    async fn expire(&self, plan: &ExpiryPlan, dry_run: bool) -> Result<ExpiryReport> {
        let plan = plan.clone();
        let planned = move |db: &Connection| {
            let (report, cuts) = expiry::plan(db, &plan)?;
            Ok((report, cuts, gaps::expiring(db, &plan)?))
        };
        let (report, cuts, gaps) = self.read("plan an expiry", planned).await?;
        let report = ExpiryReport { newest_at: self.newest_received().await?, ..report };
        if dry_run {
            return Ok(report);
        }
        for cut in cuts {
            // Each step shares a commit with other waiting writes. The caller's thread may be the one that has to
            // enqueue them, so it gets a turn even if the step is complete at once.
            while self
                .free("delete expired records", move |tx: &mut WriteContext<'_>| expiry::step(tx, cut))
                .await?
            {
                tokio::task::yield_now().await;
            }
        }
        for of in gaps {
            loop {
                let of = of.clone();
                let step = move |tx: &mut WriteContext<'_>| {
                    let (db, ingest) = tx.split();
                    ingest.expire_gaps(db, &of)
                };
                if !self.free("delete expired gaps", step).await? {
                    break;
                }
            }
        }
        Ok(report)
    }

    async fn evict(&self, eviction: Eviction, now: Now) -> Result<u32> {
        let Eviction { before, most, .. } = eviction;
        // On a reader, because it examines every series.
        let cuts = move |db: &Connection| eviction::cuts(db, eviction, now.wall);
        let cuts = self.read("find the writers over their share", cuts).await?;
        let mut steps = 0;
        for cut in &cuts {
            steps += self.cut(*cut).await?;
        }
        while cuts.is_empty() && steps < most {
            let oldest = self.read("find the oldest records", move |db| expiry::oldest(db, before)).await?;
            match oldest {
                Some(cut) => steps += self.cut(cut).await?,
                None => break,
            }
        }
        Ok(steps)
    }

    async fn verify(&self, deep: bool) -> Result<Verification> {
        // Refused once the store is closed, although other processes could still read the file.
        self.write("check the store", |_| Ok(())).await?;
        let found = match &self.file {
            Some(file) => recovery::verify(file, deep).await?,
            None => self.write("verify the database", move |db| Ok(verify::look_through(db, deep)?)).await?,
        };
        if let Some(fault) = found.faults.first() {
            self.suspect(&StoreError::Damaged {
                context: "verify the database",
                source: fault.clone().into(),
            });
        }
        Ok(found)
    }

    async fn backup(&self, to: &Path) -> Result<BackedUp> {
        self.write("check the store", |_| Ok(())).await?;
        let Some(file) = &self.file else {
            return Err(StoreError::Conflict("a database in memory has no backup".to_owned()));
        };
        recovery::backup(file, to).await.inspect_err(|error| self.suspect(error))
    }

    async fn note(&self, name: &str) -> Result<Option<String>> {
        let name = name.to_owned();
        self.look_up("read a note", move |db| notes::note(db, &name)).await
    }

    async fn set_note(&self, name: &str, text: &str) -> Result<()> {
        let (name, text) = (name.to_owned(), text.to_owned());
        self.write("store a note", move |db| notes::set(db, &name, &text)).await
    }

    async fn hub_secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        let name = name.to_owned();
        self.write("store a secret of the hub", move |db| users::hub_secret(db, &name, fresh)).await
    }

    async fn read_hub_secret(&self, name: &str) -> Result<Option<[u8; 32]>> {
        let name = name.to_owned();
        self.read("read a secret of the hub", move |db| users::read_hub_secret(db, &name)).await
    }

    async fn replace_hub_secret(&self, name: &str, fresh: [u8; 32]) -> Result<()> {
        let name = name.to_owned();
        self.write("replace a secret of the hub", move |db| users::replace_hub_secret(db, &name, fresh)).await
    }

    async fn maintain(&self, now: Now) -> Result<()> {
        let compact = move |tx: &mut WriteContext<'_>| {
            tx.ingest.compact_if_old(now);
            Ok(())
        };
        self.write("compact the WAL", compact).await?;
        self.make_reserve().await
    }

    async fn compact(&self) -> Result<()> {
        while self.memtable.read(AllSeries::records) > 0 {
            // A compaction takes committed records, so each turn is a write of its own.
            let compact = |tx: &mut WriteContext<'_>| {
                tx.ingest.compact_all();
                Ok(())
            };
            self.write("compact the WAL", compact).await?;
        }
        while self.write("delete obsolete rows", |tx| Ok(tx.ingest.is_deleting())).await? {}
        Ok(())
    }

    fn take_unverified(&self) -> bool {
        self.file_watch.as_ref().is_some_and(FileWatch::take_unverified)
    }

    async fn close(&self) -> Result<()> {
        if self.suspect.get().is_some() {
            // A failed writer does the same.
            let keep_wal = |db: &mut WriteContext<'_>| {
                Ok(db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?)
            };
            let _ = self.writer.write("keep the WAL on close", keep_wal).await;
        }
        // Readers first, as when dropped.
        for readers in [&self.readers, &self.lookups].into_iter().flatten() {
            readers.close().await;
        }
        self.writer.close().await
    }
}
