//! Lists that are longer than a page.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use iotpi_core::{client, model::page::MAX_PAGE_ITEMS};
use pyo3::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Mutex;

use crate::{
    failure::{Failure, invalid},
    pending::{Answer, Pending},
};

/// The items of each page as JSON texts.
type PageStream = Pin<Box<dyn Stream<Item = Result<Vec<String>, Failure>> + Send>>;

/// The pages of one answer, requested one after the other.
#[pyclass(module = "iotpi._iotpi", frozen)]
pub struct Pages {
    pages: Arc<Mutex<PageStream>>,
}

impl Pages {
    /// The first `limit` items of the list, or all.
    pub fn new<T>(list: client::Pages<T>, limit: Option<u64>) -> Result<Self, Failure>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if limit == 0 {
            return Err(invalid("`limit` must be 1 or more; leave it out for all"));
        }
        let items = list.into_stream().map(|item| serde_json::to_string(&item?).map_err(invalid));
        // The items of one page are ready together; the next page has to be requested.
        let pages = items.take(limit).try_ready_chunks(MAX_PAGE_ITEMS as usize).map_err(|error| error.1);
        Ok(Self { pages: Arc::new(Mutex::new(Box::pin(pages))) })
    }
}

/// The size of the pages of a list of which the first `limit` items are wanted.
pub fn page_size(limit: Option<u64>) -> Option<u32> {
    limit.and_then(|limit| u32::try_from(limit).ok()).map(|limit| limit.min(MAX_PAGE_ITEMS))
}

#[pymethods]
impl Pages {
    /// The items of the next page as a JSON array; `None` after the last one.
    fn next_page(&self) -> Pending {
        let pages = self.pages.clone();
        Pending::new(async move {
            let page = pages.lock().await.try_next().await?;
            Ok(page.map_or(Answer::Nothing, |items| Answer::Json(format!("[{}]", items.join(",")))))
        })
    }
}
