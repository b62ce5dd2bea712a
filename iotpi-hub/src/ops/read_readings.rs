//! Readings read back: a wrong clock, the hub's or a module's, hides nothing, and is told.

use std::time::Duration;

use iotpi_core::{Bucket, ModuleId, Reading, Timestamp};

use super::readings::MAX_CLOCK_AHEAD;
use crate::{
    Hub,
    error::Result,
    store::{Page, PageRequest, ReadingQuery, SeriesKey},
};

/// Where the hub notes when its clock was wrong.
const CLOCK: &str = "clock";

impl Hub {
    /// The latest time a reading may have to be among the newest; nothing while the hub's clock is not set.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        self.detect_clock_step();
        self.inner.clock.is_set().then(|| self.now().wall.plus(MAX_CLOCK_AHEAD))
    }

    /// See [`Store::readings`](crate::store::Store::readings).
    pub(crate) async fn readings(&self, query: &ReadingQuery, page: &PageRequest) -> Result<Page<Reading>> {
        self.detect_clock_step();
        let found = self.store().readings(query, page).await?;
        Ok(self.marked(found))
    }

    /// See [`Store::buckets`](crate::store::Store::buckets). The last one is that which holds the latest time a reading may
    /// have: to cut it there would mean to sum up its records one by one.
    pub(crate) async fn buckets(
        &self,
        query: &ReadingQuery,
        width: Duration,
        page: &PageRequest,
    ) -> Result<Page<Bucket>> {
        let width_us = i64::try_from(width.as_micros()).unwrap_or(i64::MAX).max(1);
        let last_of_bucket = |latest: Timestamp| {
            let start = latest.as_micros().div_euclid(width_us).saturating_mul(width_us);
            Timestamp::from_micros(start.saturating_add(width_us - 1))
        };
        let query = ReadingQuery { not_after: query.not_after.map(last_of_bucket), ..query.clone() };
        Ok(self.store().buckets(&query, width, page).await?)
    }

    /// Every series as its newest record: see [`Store::newest`](crate::store::Store::newest).
    pub(crate) async fn newest(
        &self,
        module: Option<&ModuleId>,
        page: &PageRequest,
    ) -> Result<Page<Reading>> {
        let found = self.store().newest(module, self.latest(), page).await?;
        Ok(self.marked(found))
    }

    /// The newest records of a series: see [`Store::recent`](crate::store::Store::recent).
    pub(crate) async fn recent(&self, series: &SeriesKey, count: u32) -> Result<Vec<Reading>> {
        let mut found = self.store().recent(series, count, self.latest()).await?;
        self.inner.wrong_clock.mark(&mut found, self.now().wall);
        Ok(found)
    }

    fn marked(&self, mut page: Page<Reading>) -> Page<Reading> {
        self.inner.wrong_clock.mark(&mut page.items, self.now().wall);
        page
    }

    /// Looks whether the wall clock was set by more than 5 minutes since the last look.
    pub(crate) fn detect_clock_step(&self) {
        if let Some(step) = self.inner.clock.look_for_a_step(&self.inner.wrong_clock) {
            tracing::warn!(
                step_secs = step,
                "the hub's clock was set: readings whose time it gave before are marked `hub_unsynced`"
            );
        }
    }

    /// Keeps what is known of the clock, if that has changed.
    pub(crate) async fn save_clock(&self) {
        let Some(text) = self.inner.wrong_clock.unsaved() else { return };
        if let Err(error) = self.store().keep_note(CLOCK, &text).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "when the clock was set could not be saved"
            );
            self.inner.wrong_clock.not_saved();
        }
    }
}

/// What was kept of the clock.
pub(crate) async fn stored_clock(store: &dyn crate::store::Store) -> Result<Option<String>> {
    Ok(store.note(CLOCK).await?)
}
