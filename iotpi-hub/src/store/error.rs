//! Why the store did not do it.

use iotpi_core::Unit;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(&'static str),
    /// The thing has moved on, is taken, or exists already; one sentence.
    #[error("{0}")]
    Conflict(String),
    /// The series keeps another unit than the reading came in. `index` is the reading's place among those delivered.
    #[error("the series keeps {unit}")]
    OtherUnit {
        /// Which of the delivered readings.
        index: usize,
        /// The unit the series keeps.
        unit: Unit,
    },
    /// A stated limit is reached.
    #[error("{what}: the limit is {limit}")]
    LimitReached {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// The cursor is none of this list's.
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
        /// What was being done.
        context: &'static str,
        /// What the engine said.
        #[source]
        source: BoxError,
    },
    /// What is kept is damaged: it cannot be read as what was written.
    #[error("what the store keeps is damaged: {context}")]
    Damaged {
        /// What was being done.
        context: &'static str,
        /// What the engine said.
        #[source]
        source: BoxError,
    },
    /// The URL given to [`open`](super::open) names no engine, or is not one.
    #[error("`{0}` is not a store URL: sqlite:///path/to/file.db")]
    BadUrl(String),
}

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
