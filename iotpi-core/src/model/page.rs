//! Pages of lists.

use serde::{Deserialize, Serialize};

/// The maximum number of items in a page.
pub const MAX_PAGE_ITEMS: u32 = 1000;

/// A page of a list with the cursor of the next one.
///
/// ```
/// use iotpi_core::model::page::Page;
///
/// let page = Page::new(vec![1, 2], Some("cursor".to_owned())).map(|n| n * 10);
/// assert_eq!(page.items, [10, 20]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Page<T> {
    /// The items, at most as many as requested.
    pub items: Vec<T>,
    /// The opaque cursor of the next page, to be sent as `cursor`; null at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page with the cursor of the next one, if there is one.
    #[must_use]
    pub fn new(items: Vec<T>, next: Option<String>) -> Self {
        Self { items, next }
    }

    /// Converts the items of the page.
    #[must_use]
    pub fn map<U>(self, into: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(into).collect(), next: self.next }
    }
}
