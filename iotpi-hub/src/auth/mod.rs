//! Authentication and authorization of callers.
//!
//! Users log in and get a session. Programs use API tokens or short-lived JWTs. Modules use tokens bound to
//! one module id. Deliberately absent: a default password, and a way to disable authentication.

mod authorization;
mod caller;
mod credential_reset;
mod first_admin_code;
pub(crate) mod jwt;
mod login_rate_limit;
mod password;
pub(crate) mod revocation_list;
mod secret;
pub(crate) mod signed_url;
pub mod token;
mod token_cache;
pub mod user;

use serde::{Deserialize, Serialize};

pub(crate) use authorization::{
    Authorization, AuthorizationEnd, RequestAuthorization, VerifiedCredential, authorization_ended,
    is_unauthenticated,
};
pub use caller::{Caller, Identity};
pub(crate) use credential_reset::reset_credentials_if_restored;
pub(crate) use first_admin_code::FirstAdminCode;
pub use jwt::rotate_key;
pub(crate) use login_rate_limit::{LoginRateLimit, LoginTarget};
pub(crate) use password::Passwords;
pub(crate) use revocation_list::RevocationList;
pub(crate) use secret::{Secret, hash, random};
pub(crate) use signed_url::Issuer;
pub(crate) use token_cache::TokenCache;

/// The log target of security events: logins, tokens, users. Events never contain a secret.
pub const SECURITY: &str = "iotpi_hub::security";

/// What a caller may, from least to most; `module` stands beside the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also sends commands and delivers.
    Operator,
    /// Also registers and removes modules and makes tokens.
    Admin,
    /// Delivers, takes commands and reports as one module id, and nothing else.
    Module,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Module];

    /// The role's wire word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Module => "module",
        }
    }
}
