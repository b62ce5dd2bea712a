//! A page of a list, as it travels.

use serde::Serialize;
use utoipa::ToSchema;

use crate::store;

/// A page of a list and where the next one begins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// At most as many as asked for.
    items: Vec<T>,
    /// Send it back as `cursor` to get the next page; null on the last one.
    #[schema(required)]
    next: Option<String>,
}

impl<T> Page<T> {
    /// A list that is always whole.
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
