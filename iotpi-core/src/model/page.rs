//! Lists come in pages.

use serde::{Deserialize, Serialize};

/// The most items a page may have.
pub const MAX_PAGE_ITEMS: u32 = 1000;

/// A page of a list and where the next one begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// At most as many as asked for.
    pub items: Vec<T>,
    /// Send it as `cursor` for the next page; null at the end. Opaque.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The same page of something else.
    #[must_use]
    pub fn map<U>(self, into: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(into).collect(), next: self.next }
    }
}
