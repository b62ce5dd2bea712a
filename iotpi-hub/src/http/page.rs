//! The JSON form of a page of a list.

use serde::Serialize;
use utoipa::ToSchema;

use crate::store;

/// A page of a list, with the cursor of the next page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items of the page, up to the limit.
    items: Vec<T>,
    /// The `cursor` of the next page; null on the last page.
    #[schema(required)]
    next: Option<String>,
}

impl<T> Page<T> {
    /// The only page of a list that is never divided.
    pub(crate) fn single(items: Vec<T>) -> Self {
        Self { items, next: None }
    }

    pub(crate) fn map<U>(page: store::Page<U>, each: impl FnMut(U) -> T) -> Self {
        Self { items: page.items.into_iter().map(each).collect(), next: page.next }
    }
}

impl<T> From<store::Page<T>> for Page<T> {
    fn from(page: store::Page<T>) -> Self {
        Self { items: page.items, next: page.next }
    }
}
