//! Queries for readings, in which wrong clocks hide nothing and are marked.

use std::time::Duration;

use iotpi_core::{ModuleId, Reading, Timestamp, model::reading::Bucket};

use super::readings::MAX_CLOCK_AHEAD;
use crate::{
    Hub,
    error::Result,
    store::{Page, PageRequest, ReadingQuery, SeriesKey},
};

/// The note with the times at which the hub's clock was wrong.
const CLOCK: &str = "clock";

impl Hub {
    /// The latest time of a reading that counts as newest; `None` while the hub's clock is not set.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        self.detect_clock_step();
        self.inner.clock.is_set().then(|| self.now().wall.plus(MAX_CLOCK_AHEAD))
    }

    /// See [`ReadReadings::readings`](crate::store::ReadReadings::readings).
    pub(crate) async fn readings(&self, query: &ReadingQuery, page: &PageRequest) -> Result<Page<Reading>> {
        self.detect_clock_step();
        let found = self.inner.store.readings(query, page).await?;
        Ok(self.marked(found))
    }

    /// See [`ReadReadings::buckets`](crate::store::ReadReadings::buckets). The last bucket is the one with the latest
    /// accepted time: cutting it there would require aggregating its readings one by one.
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
        Ok(self.inner.store.buckets(&query, width, page).await?)
    }

    /// The newest reading of every series: see [`ReadReadings::newest`](crate::store::ReadReadings::newest).
    pub(crate) async fn newest(
        &self,
        module: Option<&ModuleId>,
        page: &PageRequest,
    ) -> Result<Page<Reading>> {
        let found = self.inner.store.newest(module, self.latest(), page).await?;
        Ok(self.marked(found))
    }

    /// The newest readings of a series: see [`ReadReadings::recent`](crate::store::ReadReadings::recent).
    pub(crate) async fn recent(&self, series: &SeriesKey, count: u32) -> Result<Vec<Reading>> {
        let mut found = self.inner.store.recent(series, count, self.latest()).await?;
        self.inner.wrong_clock.mark(&mut found, self.now().wall);
        Ok(found)
    }

    fn marked(&self, mut page: Page<Reading>) -> Page<Reading> {
        self.inner.wrong_clock.mark(&mut page.items, self.now().wall);
        page
    }

    /// Detects whether the wall clock was adjusted by more than 5 minutes since the last check.
    pub(crate) fn detect_clock_step(&self) {
        if let Some(step) = self.inner.clock.look_for_a_step(&self.inner.wrong_clock) {
            tracing::warn!(
                step_secs = step,
                "the hub's clock was set: readings whose time it gave before are marked `hub_unsynced`"
            );
        }
    }

    /// Saves the known errors of the clock, if they changed.
    pub(crate) async fn save_clock(&self) {
        let Some(text) = self.inner.wrong_clock.unsaved() else { return };
        if let Err(error) = self.inner.store.set_note(CLOCK, &text).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "when the clock was set could not be saved"
            );
            self.inner.wrong_clock.not_saved();
        }
    }
}

/// The saved errors of the clock.
pub(crate) async fn stored_clock(store: &dyn crate::store::Store) -> Result<Option<String>> {
    Ok(store.note(CLOCK).await?)
}
