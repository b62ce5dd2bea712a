//! Errors of the hub's operations.
//!
//! Deliberately absent: status codes. Only `http/problem.rs` maps kinds to status codes.

use std::{error::Error, iter::successors, ops::RangeInclusive, time::Duration};

use iotpi_core::{ModuleId, model::error::ErrorKind};
use tokio::task::JoinError;

use crate::store::{BoxError, StoreError};

/// The result of an operation.
pub type Result<T, E = HubError> = std::result::Result<T, E>;

/// The causes of an error, from the nearest one to the first.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(error.source(), |cause| (**cause).source())
}

/// An error with a kind from a closed list, a detail for the caller, and a cause for the log.
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
    /// Creates an error of that kind, with one sentence for the caller.
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
        /// The request is malformed.
        invalid_argument => InvalidArgument,
        /// The caller has no valid credentials.
        unauthenticated => Unauthenticated,
        /// The caller is not permitted to do this.
        permission_denied => PermissionDenied,
        /// The resource does not exist.
        not_found => NotFound,
        /// The state of the resource does not allow this.
        conflict => Conflict,
        /// The request exceeds a documented limit.
        too_large => TooLarge,
        /// The request is well-formed but invalid.
        unprocessable => Unprocessable,
        /// The caller exceeded a rate limit or quota.
        rate_limited => RateLimited,
        /// The hub failed.
        internal => Internal,
        /// The hub cannot respond at the moment.
        unavailable => Unavailable,
    }

    /// Sets the JSON pointer (RFC 6901) to the invalid part of the body.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// Sets the list of valid names.
    #[must_use]
    pub fn with_choices(mut self, choices: Vec<String>) -> Self {
        self.choices = choices;
        self
    }

    /// There is no such module.
    pub(crate) fn no_module(id: &ModuleId) -> Self {
        Self::not_found(format!("There is no module `{id}`."))
    }

    /// The disk of the hub has no space.
    pub(crate) fn storage_full() -> Self {
        Self::new(ErrorKind::StorageFull, "The disk of the hub is full. Nothing was stored.").retry_in(5..=30)
    }

    /// Sets how long to wait before the next attempt.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Sets a random wait in a range of seconds, so that the callers do not all retry at the same time.
    #[must_use]
    pub(crate) fn retry_in(self, secs: RangeInclusive<u32>) -> Self {
        // Without randomness they do, as they would without this.
        let spread = getrandom::u32().unwrap_or_default() % (secs.end() - secs.start() + 1);
        self.retry_after(Duration::from_secs((secs.start() + spread).into()))
    }

    /// Sets the cause, for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The description for the caller.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The JSON pointer to the invalid part of the body.
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }

    /// The valid names.
    #[must_use]
    pub fn choices(&self) -> &[String] {
        &self.choices
    }

    /// How long to wait before the next attempt.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<JoinError> for HubError {
    fn from(error: JoinError) -> Self {
        Self::internal("A background thread failed.").caused_by(error)
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
            StoreError::Full(_) => Self::storage_full().caused_by(error),
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
