//! The errors between a program and a hub: a closed list of kinds, and the problem document.
//!
//! Deliberately absent: status codes. Only the hub's HTTP transport maps kinds to status codes.

use serde::{Deserialize, Serialize};

/// The kinds of errors. The Python exceptions and the TypeScript type are the same list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request has the wrong form.
    InvalidArgument,
    /// The caller is unknown.
    Unauthenticated,
    /// The caller does not have the permission.
    PermissionDenied,
    /// The object does not exist.
    NotFound,
    /// The state of the object has changed.
    Conflict,
    /// The request exceeds a documented limit.
    TooLarge,
    /// The request is well-formed but not valid.
    Unprocessable,
    /// Too many requests; retry later.
    RateLimited,
    /// An error inside the hub.
    Internal,
    /// The hub is starting, stopping, overloaded or unreachable.
    Unavailable,
    /// The hub's disk is full.
    StorageFull,
}

impl ErrorKind {
    /// All kinds.
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

    /// The name of the kind on the wire.
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

    /// Whether the same request may succeed later without a change by the caller.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::RateLimited | Self::Internal | Self::Unavailable | Self::StorageFull)
    }
}

/// A problem document (RFC 9457), the format of all errors of the hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
    fn the_text_of_a_kind_is_its_wire_form() {
        for kind in ErrorKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
