//! Credentials of requests, and those that the hub makes.

use std::time::Duration;

use iotpi_core::Timestamp;

use crate::auth::Caller;

/// A credential of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer`: a token or a JWT.
    Bearer(String),
    /// The session cookie.
    Session(String),
}

/// A new session.
#[derive(Debug)]
pub struct Login {
    /// The user who logged in.
    pub caller: Caller,
    /// The value of the cookie.
    pub session: String,
    /// The lifetime of the session.
    pub lasts: Duration,
}

/// A signed URL.
#[derive(Debug)]
pub struct SignedUrl {
    /// Path and query with the signature, relative to the address of the hub.
    pub url: String,
    /// The end of its validity.
    pub expires_at: Timestamp,
}

/// A signed JWT.
#[derive(Debug)]
pub struct Jwt {
    /// The value for `Authorization: Bearer`.
    pub access_token: String,
    /// Its lifetime; it ends earlier if its session or token ends.
    pub lasts: Duration,
}
