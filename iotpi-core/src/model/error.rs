//! The errors between a program and a hub: a list of kinds, and the problem document.
//!
//! Deliberately absent: status codes. Only the hub's HTTP transport maps kinds to status codes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::word::words;

words! {
    /// The kinds of errors. The Python exceptions and the TypeScript type are the same list.
    ErrorKind {
        /// The request has the wrong form.
        InvalidArgument = "invalid_argument",
        /// The caller is unknown.
        Unauthenticated = "unauthenticated",
        /// The caller does not have the permission.
        PermissionDenied = "permission_denied",
        /// The object does not exist.
        NotFound = "not_found",
        /// The state of the object has changed.
        Conflict = "conflict",
        /// The request exceeds a documented limit.
        TooLarge = "too_large",
        /// The request is well-formed but not valid.
        Unprocessable = "unprocessable",
        /// Too many requests; retry later.
        RateLimited = "rate_limited",
        /// An error inside the hub.
        Internal = "internal",
        /// The hub is starting, stopping, overloaded or unreachable.
        Unavailable = "unavailable",
        /// The hub's disk is full.
        StorageFull = "storage_full",
    }
}

impl ErrorKind {
    /// The kind in words.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidArgument => "Invalid argument",
            Self::Unauthenticated => "Unauthenticated",
            Self::PermissionDenied => "Permission denied",
            Self::NotFound => "Not found",
            Self::Conflict => "Conflict",
            Self::TooLarge => "Too large",
            Self::Unprocessable => "Unprocessable content",
            Self::RateLimited => "Rate limited",
            Self::Internal => "Internal error",
            Self::Unavailable => "Unavailable",
            Self::StorageFull => "Storage full",
            Self::Other => "Error",
        }
    }

    /// Whether the same request may succeed later without a change by the caller. False for
    /// [`Other`](Self::Other): [`Problem::is_transient`] then decides by the status code.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::RateLimited | Self::Internal | Self::Unavailable | Self::StorageFull)
    }
}

/// A problem document (RFC 9457), the format of all errors of the hub.
///
/// ```
/// use iotpi_core::model::error::{ErrorKind, Problem};
///
/// let problem = Problem::new(ErrorKind::RateLimited, 429, "too many requests");
/// assert!(problem.is_transient());
/// assert_eq!(problem.to_string(), "rate_limited: too many requests");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Problem {
    /// A URN that identifies the kind.
    #[serde(rename = "type")]
    pub type_: String,
    /// The kind of the error.
    pub kind: ErrorKind,
    /// The kind in words.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// A sentence about this occurrence.
    pub detail: String,
    /// The part of the body that is at fault (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The valid names, if they are few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<String>>,
    /// The seconds after which a retry makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_secs: Option<f64>,
    /// The id of the request, which the hub's log has too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Problem {
    /// A problem of this kind with its HTTP status code and a sentence about the occurrence. The title is the
    /// kind in words.
    #[must_use]
    pub fn new(kind: ErrorKind, status: u16, detail: impl Into<String>) -> Self {
        Self {
            type_: format!("urn:iotpi:problem:{kind}"),
            kind,
            title: kind.title().to_owned(),
            status,
            detail: detail.into(),
            pointer: None,
            choices: None,
            retry_after_secs: None,
            request_id: None,
        }
    }

    /// The time after which a retry makes sense, if the hub knows it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok())
    }

    /// Whether the same request may succeed later without a change by the caller.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.kind {
            ErrorKind::Other => self.status >= 500 || self.status == 429,
            kind => kind.is_transient(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.detail)?;
        if let Some(pointer) = &self.pointer {
            write!(f, " (at {pointer})")?;
        }
        Ok(())
    }
}
