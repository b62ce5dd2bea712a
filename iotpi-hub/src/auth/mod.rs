//! Authentication and authorization of callers.
//!
//! Users log in and get a session. Programs use API tokens or short-lived JWTs. Modules use tokens bound to
//! one module id. Deliberately absent: a default password, and a way to disable authentication.

mod authenticated;
mod caller;
mod credential;
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

pub use authenticated::Authenticated;
pub use caller::{Caller, Identity};
pub use credential::{Credential, Jwt, Login, SignedUrl};
pub(crate) use credential_reset::reset_credentials_if_restored;
pub(crate) use first_admin_code::FirstAdminCode;
pub use iotpi_core::model::role::Role;
pub use jwt::rotate_key;
pub(crate) use login_rate_limit::{LoginRateLimit, LoginTarget};
pub(crate) use password::Passwords;
pub(crate) use revocation_list::RevocationList;
pub(crate) use secret::{Secret, hash, random};
pub(crate) use signed_url::Issuer;
pub(crate) use token_cache::TokenCache;

/// The log target of security events: logins, tokens, users. Events never contain a secret.
pub const SECURITY: &str = "iotpi_hub::security";
