//! Lists that the hub returns in pages.

use std::{collections::VecDeque, pin::Pin};

use futures_util::stream::{self, Stream};
use serde::de::DeserializeOwned;

use super::http::{Call, Http};
use crate::{
    model::page::{MAX_PAGE_ITEMS, Page},
    uplink::UplinkError,
};

/// A list of the hub, which is requested page by page. Nothing is sent before the first call.
///
/// [`next`](Self::next) and [`into_stream`](Self::into_stream) return the items of all pages one by one,
/// [`all`](Self::all) returns them in one `Vec`. Awaiting the value itself returns only the first [`Page`].
///
/// ```no_run
/// # async fn example() -> Result<(), iotpi_core::AnyError> {
/// use iotpi_core::{HubClient, ReadingFilter};
///
/// let hub = HubClient::from_env()?;
/// let mut readings = hub.readings(&"temperature".parse()?, &ReadingFilter::default());
/// while let Some(reading) = readings.next().await? {
///     println!("{}: {:?}", reading.module_id, reading.outcome);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is requested before it is awaited"]
pub struct Pages<T> {
    http: Http,
    /// The path with its query, without limit and cursor.
    path: String,
    page_size: Option<u32>,
    position: Position,
    items: VecDeque<T>,
}

/// The next page.
#[derive(Debug)]
enum Position {
    Start(Option<String>),
    Cursor(String),
    End,
}

impl<T: DeserializeOwned> Pages<T> {
    pub(super) fn new(http: Http, call: Call) -> Self {
        Self {
            http,
            path: call.path,
            page_size: None,
            position: Position::Start(None),
            items: VecDeque::new(),
        }
    }

    /// Sets the number of items in a page and the cursor of the first one, if they are given.
    pub(super) fn from(mut self, page_size: Option<u32>, cursor: Option<String>) -> Self {
        self.page_size = page_size;
        self.position = Position::Start(cursor);
        self
    }

    /// Returns the next item; `None` after the last one. After an error the next call requests the same page
    /// again.
    ///
    /// # Errors
    /// [`UplinkError`].
    ///
    /// # Cancel safety
    /// Cancel safe: no item is lost.
    pub async fn next(&mut self) -> Result<Option<T>, UplinkError> {
        while self.items.is_empty() {
            let cursor = match &self.position {
                Position::Start(cursor) => cursor.as_ref(),
                Position::Cursor(cursor) => Some(cursor),
                Position::End => return Ok(None),
            };
            let limit = self.page_size.or(Some(MAX_PAGE_ITEMS));
            let page: Page<T> = request(&self.http, &self.path, limit, cursor).await?;
            self.position = page.next.map_or(Position::End, Position::Cursor);
            self.items = page.items.into();
        }
        Ok(self.items.pop_front())
    }

    /// Returns the remaining items of all pages.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn all(mut self) -> Result<Vec<T>, UplinkError> {
        let mut all = Vec::new();
        while let Some(item) = self.next().await? {
            all.push(item);
            all.extend(self.items.drain(..));
        }
        Ok(all)
    }
}

impl<T: DeserializeOwned + Send + 'static> Pages<T> {
    /// Converts it into a stream of the items of all pages, which ends after an error.
    pub fn into_stream(self) -> Pin<Box<dyn Stream<Item = Result<T, UplinkError>> + Send>> {
        Box::pin(stream::try_unfold(self, async |mut pages: Self| {
            Ok(pages.next().await?.map(|item| (item, pages)))
        }))
    }
}

impl<T: DeserializeOwned + Send + 'static> IntoFuture for Pages<T> {
    type Output = Result<Page<T>, UplinkError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Requests one page.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let cursor = match &self.position {
                Position::Start(cursor) => cursor.as_ref(),
                Position::Cursor(cursor) => Some(cursor),
                Position::End => None,
            };
            request(&self.http, &self.path, self.page_size, cursor).await
        })
    }
}

async fn request<T: DeserializeOwned>(
    http: &Http,
    path: &str,
    limit: Option<u32>,
    cursor: Option<&String>,
) -> Result<Page<T>, UplinkError> {
    http.json(Call::get(path).query("limit", limit).query("cursor", cursor)).await
}
