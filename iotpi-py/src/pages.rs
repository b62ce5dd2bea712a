//! Lists that are longer than a page.

use std::sync::Arc;

use iotpi_core::{
    HubClient, ReadingFilter, SensorType, UplinkError,
    client::BucketWidth,
    model::page::{MAX_PAGE_ITEMS, Page},
};
use pyo3::prelude::*;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::{
    failure::{Failure, invalid},
    pending::{Answer, Pending},
};

/// The question whose answer has several pages.
pub enum Query {
    Readings(SensorType),
    Buckets(SensorType, BucketWidth),
    Gaps(Option<SensorType>),
}

/// The pages of one answer, requested one after the other.
#[pyclass(module = "iotpi._iotpi", frozen)]
pub struct Pages {
    hub: HubClient,
    query: Arc<Query>,
    progress: Arc<Mutex<Progress>>,
}

struct Progress {
    filter: ReadingFilter,
    /// The number of items still wanted; `None` for all.
    left: Option<u64>,
    ended: bool,
}

impl Pages {
    pub fn new(
        hub: HubClient,
        query: Query,
        filter: ReadingFilter,
        limit: Option<u64>,
    ) -> Result<Self, Failure> {
        if limit == Some(0) {
            return Err(invalid("`limit` must be 1 or more; leave it out for all"));
        }
        let progress = Progress { filter, left: limit, ended: false };
        Ok(Self { hub, query: Arc::new(query), progress: Arc::new(Mutex::new(progress)) })
    }
}

#[pymethods]
impl Pages {
    /// The items of the next page as a JSON array; `None` after the last one.
    fn next_page(&self) -> Pending {
        let (hub, query, progress) = (self.hub.clone(), self.query.clone(), self.progress.clone());
        Pending::new(async move {
            let mut progress = progress.lock().await;
            if progress.ended {
                return Ok(Answer::Nothing);
            }
            match &*query {
                Query::Readings(sensor) => {
                    progress.take(async |filter| hub.readings(sensor, filter).await).await
                }
                Query::Buckets(sensor, width) => {
                    progress.take(async |filter| hub.buckets(sensor, *width, filter).await).await
                }
                Query::Gaps(sensor) => {
                    progress.take(async |filter| hub.gaps(sensor.as_ref(), filter).await).await
                }
            }
        })
    }
}

impl Progress {
    async fn take<T: Serialize>(
        &mut self,
        request: impl AsyncFnOnce(&ReadingFilter) -> Result<Page<T>, UplinkError>,
    ) -> Result<Answer, Failure> {
        let limit = self.left.and_then(|left| u32::try_from(left).ok()).unwrap_or(MAX_PAGE_ITEMS);
        self.filter.limit = Some(limit.min(MAX_PAGE_ITEMS));
        let page = request(&self.filter).await?;
        self.left = self.left.map(|left| left.saturating_sub(page.items.len() as u64));
        self.ended = page.next.is_none() || self.left == Some(0);
        self.filter.cursor = page.next;
        Answer::json(&page.items)
    }
}
