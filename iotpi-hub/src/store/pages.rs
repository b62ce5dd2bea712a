//! Reading a list to its end.

use super::{Page, PageRequest};

/// The largest page of a list.
const MAX_ITEMS: u32 = 1000;

/// The requests for all pages of a list, one after another.
#[derive(Debug)]
pub(crate) struct Pages(Option<PageRequest>);

impl Pages {
    /// Begins at the first page.
    pub(crate) fn new() -> Self {
        Self::of(MAX_ITEMS)
    }

    /// Begins at the first page, with another number of items in a page.
    pub(crate) fn of(limit: u32) -> Self {
        Self(Some(PageRequest { limit, cursor: None }))
    }

    /// The request for the next page, until the last page was taken.
    pub(crate) fn next(&self) -> Option<PageRequest> {
        self.0.clone()
    }

    /// The items of the page that was requested.
    pub(crate) fn take<T>(&mut self, page: Page<T>) -> Vec<T> {
        match (&mut self.0, page.next) {
            (Some(request), Some(cursor)) => request.cursor = Some(cursor),
            (request, _) => *request = None,
        }
        page.items
    }
}
