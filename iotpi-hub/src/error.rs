//! Why the hub did not do it.
//!
//! Deliberately absent: status codes; only `http/problem.rs` knows which kind is which.

use std::time::Duration;

use iotpi_core::ErrorKind;

use crate::store::{BoxError, StoreError};

/// What a room answers with.
pub type Result<T, E = HubError> = std::result::Result<T, E>;

/// Why the hub did not do it: one of the closed list, said for the caller, with the cause for the log.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct HubError {
    kind: ErrorKind,
    detail: String,
    pointer: Option<String>,
    choices: Vec<String>,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

macro_rules! of_kind {
    ($($(#[$doc:meta])* $name:ident => $kind:ident,)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(detail: impl Into<String>) -> Self {
            Self::new(ErrorKind::$kind, detail)
        })*
    };
}

impl HubError {
    /// An error of that kind, with one sentence for the caller.
    #[must_use]
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            pointer: None,
            choices: Vec::new(),
            retry_after: None,
            source: None,
        }
    }

    of_kind! {
        /// It is not the shape asked for.
        invalid_argument => InvalidArgument,
        /// Who calls is not known.
        unauthenticated => Unauthenticated,
        /// Who calls may not.
        permission_denied => PermissionDenied,
        /// There is no such thing.
        not_found => NotFound,
        /// The thing has moved on.
        conflict => Conflict,
        /// Over a stated limit.
        too_large => TooLarge,
        /// Well-formed, but it cannot be true.
        unprocessable => Unprocessable,
        /// Too often; later.
        rate_limited => RateLimited,
        /// The hub's own fault.
        internal => Internal,
        /// The hub cannot now.
        unavailable => Unavailable,
    }

    /// The place in the body that is at fault (RFC 6901).
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// The names that would have been right.
    #[must_use]
    pub fn with_choices(mut self, choices: Vec<String>) -> Self {
        self.choices = choices;
        self
    }

    /// When to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// What it came from, for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Which of the closed list.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, for the caller.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The place in the body that is at fault.
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }

    /// The names that would have been right.
    #[must_use]
    pub fn choices(&self) -> &[String] {
        &self.choices
    }

    /// How long to wait before trying again.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<StoreError> for HubError {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match error {
            StoreError::NotFound(_) => Self::not_found(detail),
            StoreError::Conflict(_) => Self::conflict(detail),
            StoreError::OtherUnit { index, .. } => Self::unprocessable(detail).at(format!("/{index}/unit")),
            StoreError::LimitReached { .. } => Self::rate_limited(detail),
            StoreError::BadCursor => Self::invalid_argument(detail),
            StoreError::Full(_) => {
                Self::new(ErrorKind::StorageFull, "The disk of the hub is full. Nothing was stored.")
                    .retry_after(crate::ops::storage::retry_jitter())
                    .caused_by(error)
            }
            StoreError::Closed => {
                Self::unavailable("The hub is stopping. Try again in a moment.").caused_by(error)
            }
            StoreError::Engine { .. } | StoreError::Damaged { .. } | StoreError::BadUrl(_) => {
                Self::internal("The storage of the hub failed. The log of the hub has the cause.")
                    .caused_by(error)
            }
        }
    }
}
