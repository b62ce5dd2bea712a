//! The current state for a new live client, written in fragments, so that a client that does not read costs
//! one fragment.

use std::collections::VecDeque;

use bytes::Bytes;
use iotpi_core::{
    ModuleId, Timestamp,
    model::event::{EventKind, Subscription},
};
use serde::Serialize;

use crate::{
    Hub,
    error::Result,
    store::{PageRequest, ReadingQuery, SeriesKey},
};

/// The maximum number of readings in one `recent`.
const MAX_READINGS: usize = 10_000;
/// The size at which a fragment is sent, in bytes. It is kept until the client has received it.
const PIECE_BYTES: usize = 8 * 1024;
/// The number of readings read at a time: some 200 bytes each as text. A dashboard requests 60 of each
/// series.
const READINGS_STEP: u32 = 64;
/// The number of series looked up at a time.
const SERIES_STEP: u32 = 64;
/// The number of modules read at a time; one can have a manifest of 64 KiB.
const MODULES_STEP: u32 = 4;

/// The answer to a subscription: the message `recent`, whose next fragment is made after the previous one was
/// sent.
///
/// It includes event `seq`, and perhaps later ones.
#[derive(Debug)]
pub(crate) struct Present {
    hub: Hub,
    wanted: Subscription,
    /// The number of readings of each series.
    each: u32,
    /// The number of readings that may still follow.
    left: usize,
    next: Next,
    /// The text being written, and whether its current list has an item already.
    text: String,
    has_item: bool,
}

/// The next part to write.
#[derive(Debug)]
enum Next {
    /// The newest reading of each series, page by page.
    Newest {
        cursor: Option<String>,
    },
    /// The series of a page, each with its newest readings.
    Series {
        series: VecDeque<SeriesKey>,
        within: Option<Within>,
        cursor: Option<String>,
    },
    Modules {
        cursor: Option<String>,
    },
    Cameras {
        ids: VecDeque<ModuleId>,
    },
    End,
}

/// A position within the readings of one series that exceed a fragment.
#[derive(Debug)]
struct Within {
    since: Timestamp,
    left: u32,
    cursor: Option<String>,
}

impl Hub {
    /// The current state that matches a subscription.
    pub(crate) fn present(&self, seq: u64, wanted: &Subscription) -> Present {
        let wants_readings = wanted.recent > 0
            && wanted.kinds.as_ref().is_none_or(|kinds| kinds.contains(&EventKind::Reading));
        let series = self.inner.quotas.count_series(|module, kind| wanted.wants_series(module, kind));
        // If there are too many readings in all, each series gets fewer.
        let each = wanted.recent.min(u32::try_from(MAX_READINGS / series.max(1)).unwrap_or(u32::MAX)).max(1);
        let next = match (wants_readings, each) {
            (false, _) => Next::Modules { cursor: None },
            (true, 1) => Next::Newest { cursor: None },
            (true, _) => Next::Series { series: VecDeque::new(), within: None, cursor: None },
        };
        let mut text = format!(r#"{{"type":"recent","seq":{seq},"readings":["#);
        if !wants_readings {
            text.push_str(r#"],"modules":["#);
        }
        Present {
            hub: self.clone(),
            wanted: wanted.clone(),
            each,
            left: MAX_READINGS,
            next,
            text,
            has_item: false,
        }
    }
}

impl Present {
    /// The next fragment of the message, and whether it is the last one.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancel safety
    /// Not cancel safe: readings of the fragment would be missing.
    pub(crate) async fn piece(&mut self) -> Result<(Bytes, bool)> {
        while self.text.len() < PIECE_BYTES && !matches!(self.next, Next::End) {
            self.next = match std::mem::replace(&mut self.next, Next::End) {
                Next::Newest { cursor } => self.newest(cursor).await?,
                Next::Series { series, within, cursor } => self.series(series, within, cursor).await?,
                Next::Modules { cursor } => self.modules(cursor).await?,
                Next::Cameras { ids } => self.cameras(ids),
                Next::End => Next::End,
            };
        }
        // Kept until the client has received it, without spare capacity.
        let piece = std::mem::take(&mut self.text).into_boxed_str().into_boxed_bytes();
        Ok((piece.into(), matches!(self.next, Next::End)))
    }

    async fn newest(&mut self, cursor: Option<String>) -> Result<Next> {
        let found = self.hub.newest(None, &PageRequest { limit: READINGS_STEP, cursor }).await?;
        for reading in found.items {
            if self.wanted.wants_series(&reading.module_id, &reading.quantity.name()) {
                self.reading(&reading);
            }
        }
        Ok(match found.next {
            Some(cursor) if self.left > 0 => Next::Newest { cursor: Some(cursor) },
            _ => self.begin_modules(),
        })
    }

    async fn series(
        &mut self,
        mut series: VecDeque<SeriesKey>,
        within: Option<Within>,
        cursor: Option<String>,
    ) -> Result<Next> {
        let Some(key) = series.front() else {
            return self.more_series(cursor).await;
        };
        let within = match within {
            Some(within) => self.readings_of(&key.clone(), within).await?,
            None => {
                let newest = self.hub.recent(key, self.each).await?;
                match newest.first() {
                    // Few enough for one fragment; more of them are read again, step by step.
                    _ if newest.len() <= READINGS_STEP as usize => {
                        newest.iter().for_each(|reading| self.reading(reading));
                        None
                    }
                    Some(oldest) => Some(Within { since: oldest.taken_at, left: self.each, cursor: None }),
                    None => None,
                }
            }
        };
        if within.is_none() {
            series.pop_front();
        }
        if series.is_empty() && (cursor.is_none() || self.left == 0) {
            return Ok(self.begin_modules());
        }
        Ok(Next::Series { series, within, cursor })
    }

    /// The next series.
    async fn more_series(&mut self, cursor: Option<String>) -> Result<Next> {
        let found = self.hub.newest(None, &PageRequest { limit: SERIES_STEP, cursor }).await?;
        let named = found.items.iter().map(SeriesKey::of);
        let series: VecDeque<_> =
            named.filter(|key| self.wanted.wants_series(&key.module_id, &key.sensor)).collect();
        Ok(match (series.is_empty(), found.next) {
            (true, None) => self.begin_modules(),
            (_, cursor) => Next::Series { series, within: None, cursor },
        })
    }

    /// The next readings of a series, oldest first; `None` after the last ones.
    async fn readings_of(&mut self, key: &SeriesKey, within: Within) -> Result<Option<Within>> {
        let query = ReadingQuery {
            sensor: key.sensor.clone(),
            module_id: Some(key.module_id.clone()),
            channel: Some(key.channel.clone().into()),
            since: Some(within.since),
            until: None,
            not_after: self.hub.latest(),
            ascending: true,
        };
        let page = PageRequest { limit: READINGS_STEP.min(within.left), cursor: within.cursor };
        let found = self.hub.readings(&query, &page).await?;
        found.items.iter().for_each(|reading| self.reading(reading));
        let left = within.left.saturating_sub(u32::try_from(found.items.len()).unwrap_or(u32::MAX));
        let more = found.next.filter(|_| left > 0 && self.left > 0);
        Ok(more.map(|cursor| Within { left, cursor: Some(cursor), ..within }))
    }

    async fn modules(&mut self, cursor: Option<String>) -> Result<Next> {
        let found = self.hub.inner.store.modules(&PageRequest { limit: MODULES_STEP, cursor }).await?;
        for record in found.items {
            if self.wanted.wants(EventKind::Module, &record.id) {
                let module = self.hub.describe(record);
                self.item(&module);
            }
        }
        Ok(match found.next {
            Some(cursor) => Next::Modules { cursor: Some(cursor) },
            None => {
                self.text.push_str(r#"],"cameras":["#);
                self.has_item = false;
                let ids = self.hub.inner.frames.names().into_iter();
                Next::Cameras { ids: ids.filter(|id| self.wanted.wants(EventKind::Camera, id)).collect() }
            }
        })
    }

    fn cameras(&mut self, mut ids: VecDeque<ModuleId>) -> Next {
        match ids.pop_front() {
            Some(id) => {
                if let Some(camera) = self.hub.camera(&id) {
                    self.item(&camera);
                }
                Next::Cameras { ids }
            }
            None => {
                self.text.push_str("]}");
                Next::End
            }
        }
    }

    fn begin_modules(&mut self) -> Next {
        self.text.push_str(r#"],"modules":["#);
        self.has_item = false;
        Next::Modules { cursor: None }
    }

    fn reading(&mut self, reading: &iotpi_core::Reading) {
        if self.left > 0 {
            self.left -= 1;
            self.item(reading);
        }
    }

    fn item(&mut self, item: &impl Serialize) {
        if std::mem::replace(&mut self.has_item, true) {
            self.text.push(',');
        }
        // Wire types have string keys and finite numbers: serialising them cannot fail.
        self.text.push_str(&serde_json::to_string(item).unwrap_or_default());
    }
}
