//! What can go wrong between a program and a hub: a closed list, and the document that says it.
//!
//! Deliberately absent: status codes. Only the hub's HTTP door knows which kind is which.

use serde::{Deserialize, Serialize};

/// Every way a request can fail. The same list is the Python exception tree and the TypeScript type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// It is not the shape asked for.
    InvalidArgument,
    /// Who calls is not known.
    Unauthenticated,
    /// Who calls may not.
    PermissionDenied,
    /// There is no such thing.
    NotFound,
    /// The thing has moved on.
    Conflict,
    /// Over a stated limit.
    TooLarge,
    /// Well-formed, but it cannot be true.
    Unprocessable,
    /// Too often; later.
    RateLimited,
    /// The hub's own fault.
    Internal,
    /// The hub cannot now: starting, stopping, overloaded or out of reach.
    Unavailable,
    /// The hub's disk is full.
    StorageFull,
}

impl ErrorKind {
    /// The whole list.
    pub const ALL: [Self; 11] = [
        Self::InvalidArgument,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::Conflict,
        Self::TooLarge,
        Self::Unprocessable,
        Self::RateLimited,
        Self::Internal,
        Self::Unavailable,
        Self::StorageFull,
    ];

    /// The kind's wire word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Unprocessable => "unprocessable",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::StorageFull => "storage_full",
        }
    }

    /// Whether the same request may succeed later without anybody changing it.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::RateLimited | Self::Internal | Self::Unavailable | Self::StorageFull)
    }
}

/// A problem document (RFC 9457): every error the hub answers with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A URN that names the kind.
    #[serde(rename = "type")]
    pub type_: String,
    /// Which of the closed list.
    pub kind: ErrorKind,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, for people.
    pub detail: String,
    /// The place in the body that is at fault (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The names that would have been right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<String>>,
    /// Seconds after which to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_secs: Option<f64>,
    /// Names the request, in the hub's log too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kinds_word_is_its_wire_form() {
        for kind in ErrorKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
