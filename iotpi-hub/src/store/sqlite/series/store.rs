//! The traits of readings and gaps, implemented by the functions of the files beside this one.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iotpi_core::{
    ModuleId, Reading, Timestamp, Unit,
    model::{
        gap::{DeliveryAccount, Gap, NewGap},
        page::Page,
        reading::Bucket,
    },
};
use rusqlite::Connection;

use super::{boundary, buckets, gaps, merge, page, readings, rollups};
use crate::{
    lock::lock,
    store::{
        GapQuery, Now, PageRequest, ReadReadings, ReadingQuery, Recorded, Result, SeriesKey, WriteReadings,
        end_us,
        sqlite::{Sqlite, writer::WriteContext},
    },
};

#[async_trait]
impl ReadReadings for Sqlite {
    async fn gaps(&self, query: &GapQuery, page: &PageRequest) -> Result<Page<Gap>> {
        let (query, page) = (query.clone(), page.clone());
        self.read("list gaps", move |db| gaps::gaps(db, &query, &page)).await
    }

    async fn delivery(&self, module_id: &ModuleId) -> Result<DeliveryAccount> {
        let total = lock(&self.dedup).account(module_id);
        let (id, memtable) = (module_id.clone(), Arc::clone(&self.memtable));
        let series = self.read("sum up deliveries", move |db| gaps::by_series(db, &memtable, &id)).await?;
        Ok(DeliveryAccount::new(module_id.clone(), total, series))
    }

    async fn series(&self) -> Result<Vec<SeriesKey>> {
        Ok(self.memtable.read(|series| series.keys().cloned().collect()))
    }

    async fn units(&self, series: &[SeriesKey]) -> Result<Vec<Option<Unit>>> {
        Ok(self.memtable.read(|all| series.iter().map(|key| Some(all.get(key)?.unit())).collect()))
    }

    async fn readings(&self, query: &ReadingQuery, page: &PageRequest) -> Result<Page<Reading>> {
        if let Some(known) = self.memtable.read(|series| readings::first_page_known(series, query, page)) {
            return Ok(known);
        }
        if self.memtable.read(|series| series.single(query).is_some()) {
            let (query, page, memtable) = (query.clone(), page.clone(), Arc::clone(&self.memtable));
            let of_one = move |db: &Connection| readings::readings(db, &memtable, &query, &page);
            if let Some(page) = self.read("list records", of_one).await? {
                return Ok(page);
            }
        }
        let mut pager =
            page::ReadingPager::new(query, page).map_err(|fail| fail.into_store_error("list records"))?;
        while let Some(wanted) = self.memtable.read(|series| pager.go_on(series)) {
            // Each step has its own snapshot of the database, which has to match the memtable at that moment.
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
        // The latest time moves with the clock: sums up to it would serve no later query.
        let asked = if no_later { query.listed() } else { query.clone() };
        let mut pager = buckets::BucketPager::new(&asked, width, page, series, first_us)
            .map_err(|fail| fail.into_store_error("sum up records"))?;
        loop {
            self.memtable.read(|series| pager.take_kept(series));
            let Some(step) = pager.step() else { break };
            // Each step has its own snapshot of the database, which has to match the memtable at that moment.
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
}

#[async_trait]
impl WriteReadings for Sqlite {
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
}
