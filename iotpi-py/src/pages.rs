//! Lists that are longer than a page.

use iotpi_core::{MAX_PAGE_ITEMS, Page, ReadingFilter};

/// Pages put together until there are `limit` items, or no more.
pub struct Pages<T> {
    /// Asks for the next page.
    pub filter: ReadingFilter,
    limit: Option<u64>,
    pub items: Vec<T>,
    ended: bool,
}

impl<T> Pages<T> {
    pub fn new(filter: ReadingFilter, limit: Option<u64>) -> Self {
        let mut pages = Self { filter, limit, items: Vec::new(), ended: false };
        // A limit of 0 goes to the hub, which says what limits there are.
        pages.filter.limit = Some(pages.next_limit());
        pages
    }

    fn next_limit(&self) -> u32 {
        let left = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.items.len() as u64));
        u32::try_from(left).unwrap_or(u32::MAX).min(MAX_PAGE_ITEMS)
    }

    pub fn wants_more(&self) -> bool {
        !self.ended
    }

    pub fn take(&mut self, page: Page<T>) {
        self.items.extend(page.items);
        self.filter.cursor = page.next;
        self.filter.limit = Some(self.next_limit());
        self.ended = self.filter.cursor.is_none() || self.next_limit() == 0;
    }
}
