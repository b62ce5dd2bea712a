//! The present, as a live client sees it first.

use iotpi_core::{EventKind, LiveMessage, Reading, Subscription};

use crate::{
    Hub,
    error::Result,
    store::{PageRequest, SeriesKey},
};

/// The most readings of one `recent`.
const MAX_READINGS: usize = 10_000;

impl Hub {
    /// What matches a subscription now. It contains event `seq`, and perhaps later ones.
    pub(crate) async fn present(&self, seq: u64, wanted: &Subscription) -> Result<LiveMessage> {
        let mut modules = Vec::new();
        let mut page = PageRequest { limit: 1000, cursor: None };
        loop {
            let found = self.store().modules(&page).await?;
            let matching = found.items.into_iter().filter(|m| wanted.wants(EventKind::Module, &m.id));
            modules.extend(matching.map(|m| self.describe(m)));
            match found.next {
                Some(cursor) => page.cursor = Some(cursor),
                None => break,
            }
        }
        let cameras =
            self.cameras().into_iter().filter(|c| wanted.wants(EventKind::Camera, &c.module_id)).collect();
        Ok(LiveMessage::Recent { seq, readings: self.recent_readings(wanted).await?, modules, cameras })
    }

    /// The newest readings of each matching series, oldest first. When all would be too many, each series gets fewer.
    async fn recent_readings(&self, wanted: &Subscription) -> Result<Vec<Reading>> {
        let wants_any = wanted.kinds.as_ref().is_none_or(|kinds| kinds.contains(&EventKind::Reading));
        if wanted.recent == 0 || !wants_any {
            return Ok(Vec::new());
        }
        let mut newest = Vec::new();
        let mut page = PageRequest { limit: 1000, cursor: None };
        loop {
            let found = self.newest(None, &page).await?;
            newest.extend(
                found.items.into_iter().filter(|r| wanted.wants_series(&r.module_id, &r.quantity.name())),
            );
            match found.next {
                Some(cursor) if newest.len() < MAX_READINGS => page.cursor = Some(cursor),
                _ => break,
            }
        }
        newest.truncate(MAX_READINGS);
        let each = wanted.recent.min(u32::try_from(MAX_READINGS / newest.len().max(1)).unwrap_or(1));
        let mut readings = newest;
        if each > 1 {
            let series: Vec<SeriesKey> = readings
                .iter()
                .map(|r| SeriesKey { module_id: r.module_id.clone(), sensor: r.quantity.name() })
                .collect();
            readings = Vec::with_capacity(series.len());
            for series in &series {
                readings.extend(self.recent(series, each).await?);
            }
        }
        readings.sort_by_key(|r| (r.taken_at, r.received_at));
        Ok(readings)
    }
}
