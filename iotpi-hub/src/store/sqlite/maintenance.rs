//! The engine's upkeep: expiry, thinning out, verification, the check of its files.

use std::{fs, sync::Arc};

use rusqlite::Connection;

use super::{
    engine::Sqlite, failure::Failure, file_watch::FileWatch, files::with_suffix, writer::WriteContext,
};
use crate::store::sqlite::{
    recovery::{self, verify},
    series::{eviction, expiry, gaps},
};
use crate::store::{DiskUse, Eviction, ExpiryPlan, ExpiryReport, Now, Result, StoreError, Verification};

impl Sqlite {
    /// See [`Store::expire`](crate::store::Store::expire).
    pub(super) async fn expire_by_steps(&self, plan: &ExpiryPlan, dry_run: bool) -> Result<ExpiryReport> {
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
            // Each step shares a commit with whatever else waits.
            while self
                .free("remove what is old", move |tx: &mut WriteContext<'_>| expiry::step(tx, cut))
                .await?
            {}
        }
        for of in gaps {
            loop {
                let of = of.clone();
                let step = move |tx: &mut WriteContext<'_>| {
                    let (db, ingest) = tx.split();
                    ingest.expire_gaps(db, &of)
                };
                if !self.free("remove old gaps", step).await? {
                    break;
                }
            }
        }
        Ok(report)
    }

    /// See [`Store::thin`](crate::store::Store::thin).
    pub(super) async fn thin_by_steps(&self, thinning: Eviction, now: Now) -> Result<u32> {
        let Eviction { before, most, .. } = thinning;
        // Looked for by a reader: that looks at every series.
        let cuts = move |db: &Connection| eviction::cuts(db, thinning, now.wall);
        let cuts = self.read("find what grew most", cuts).await?;
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

    /// See [`Store::disk_use`](crate::store::Store::disk_use).
    pub(super) async fn measure(&self) -> Result<DiskUse> {
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

    /// See [`Store::verify`](crate::store::Store::verify).
    pub(super) async fn look_through(&self, deep: bool) -> Result<Verification> {
        // Closed is closed, whoever else could still read the file.
        self.write("check the store", |_| Ok(())).await?;
        let found = match &self.file {
            Some(file) => recovery::verify(file, deep).await?,
            None => self.write("check the database", move |db| Ok(verify::look_through(db, deep)?)).await?,
        };
        if let Some(fault) = found.faults.first() {
            self.suspect(&StoreError::Damaged {
                context: "check the database",
                source: fault.clone().into(),
            });
        }
        Ok(found)
    }

    /// See [`Store::check`](crate::store::Store::check).
    pub(super) async fn check_files(&self) -> Result<()> {
        // Takes the write lock and finds the engine unbroken; writes nothing, because health is asked for often. What a reader or
        // a verification found ends here: the next start mends it.
        let (file_watch, suspect) = (self.file_watch.clone(), Arc::clone(&self.suspect));
        let look = move |_: &mut WriteContext<'_>| match suspect.get() {
            Some(why) => Err(Failure::fatal(why).into()),
            None => file_watch.as_ref().map_or(Ok(()), FileWatch::check),
        };
        self.write("check the store", look).await
    }
}
