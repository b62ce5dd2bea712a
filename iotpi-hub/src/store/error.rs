//! The errors of the store.

use iotpi_core::Unit;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The named object does not exist.
    #[error("there is no {0}")]
    NotFound(&'static str),
    /// The object is in another state, is taken, or exists already; one sentence.
    #[error("{0}")]
    Conflict(String),
    /// The series has another unit than the reading. `index` is the position of the reading in the delivery.
    #[error("the series keeps {unit}")]
    OtherUnit {
        /// The position of the reading in the delivery.
        index: usize,
        /// The unit of the series.
        unit: Unit,
    },
    /// A documented limit is reached.
    #[error("{what}: the limit is {limit}")]
    LimitReached {
        /// The kind of the limited objects.
        what: &'static str,
        /// The maximum number of objects.
        limit: u64,
    },
    /// The cursor belongs to another list.
    #[error("the cursor is not one this list gave out")]
    BadCursor,
    /// The disk is full.
    #[error("the disk is full")]
    Full(#[source] BoxError),
    /// The engine is closed or cannot be reached.
    #[error("the store is closed")]
    Closed,
    /// The engine failed.
    #[error("the store failed: {context}")]
    Engine {
        /// The step that failed.
        context: &'static str,
        /// The error of the engine.
        #[source]
        source: BoxError,
    },
    /// Stored data is damaged: it differs from the data that was written.
    #[error("what the store keeps is damaged: {context}")]
    Damaged {
        /// The step that failed.
        context: &'static str,
        /// The error of the engine.
        #[source]
        source: BoxError,
    },
    /// The URL given to [`open`](super::open) is invalid or names no engine.
    #[error("`{0}` is not a store URL: sqlite:///path/to/file.db")]
    BadUrl(String),
}

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
