//! Users, sessions and tokens in the store.

use async_trait::async_trait;
use iotpi_core::{
    ModuleId, Timestamp,
    model::{id::UserName, page::Page, role::Role},
};

use super::{Now, PageRequest, Result, Steady};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The name to log in with.
    pub name: UserName,
    /// The permissions.
    pub role: Role,
    /// The argon2id hash in PHC form.
    pub password_hash: String,
}

/// A user in a list, without the password hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserListing {
    /// The name to log in with.
    pub name: UserName,
    /// The permissions.
    pub role: Role,
    /// The time at which the user was added.
    pub created_at: Timestamp,
    /// The start of the newest session; `None` without one.
    pub last_login_at: Option<Timestamp>,
    /// The number of sessions.
    pub sessions: u64,
}

/// The SHA-256 of a secret: session ids and tokens are stored in this form.
pub type SecretHash = [u8; 32];

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The id of the token.
    pub id: String,
    /// The name of the token.
    pub name: UserName,
    /// The permissions.
    pub role: Role,
    /// The module of a token with role `module`.
    pub module_id: Option<ModuleId>,
    /// The time at which the token was created.
    pub created_at: Timestamp,
    /// The last use, to the hour.
    pub last_used_at: Option<Timestamp>,
}

/// Reads users, sessions and tokens. The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait ReadUsers {
    /// Whether there is a user.
    async fn has_users(&self) -> Result<bool>;

    /// One user.
    async fn user(&self, name: &UserName) -> Result<Option<UserRecord>>;

    /// Users by name.
    async fn users(&self, page: &PageRequest, now: Now) -> Result<Page<UserListing>>;

    /// The user of a session that has not ended.
    async fn session(&self, secret: &SecretHash, now: Now) -> Result<Option<UserRecord>>;

    /// The token with this secret.
    async fn token(&self, secret: &SecretHash) -> Result<Option<TokenRecord>>;

    /// Tokens by name.
    async fn tokens(&self, page: &PageRequest) -> Result<Page<TokenRecord>>;
}

/// Adds, changes and removes users, sessions and tokens. The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait WriteUsers {
    /// Adds the first user.
    ///
    /// Errors: [`Conflict`](super::StoreError::Conflict) if there is one already.
    async fn add_first_user(&self, user: &UserRecord, now: Now) -> Result<()>;

    /// Adds a further user.
    ///
    /// Errors: [`Conflict`](super::StoreError::Conflict) if the name belongs to a user or a token.
    async fn add_user(&self, user: &UserRecord, now: Now) -> Result<()>;

    /// Replaces a user's password and ends all their sessions.
    ///
    /// Errors: [`NotFound`](super::StoreError::NotFound).
    async fn set_password(&self, name: &UserName, password_hash: &str) -> Result<()>;

    /// Changes a user's role, from their next request on.
    ///
    /// Errors: [`NotFound`](super::StoreError::NotFound); [`Conflict`](super::StoreError::Conflict) if no
    /// admin would be left.
    async fn set_role(&self, name: &UserName, role: Role) -> Result<()>;

    /// Removes a user and ends all their sessions.
    ///
    /// Errors: [`NotFound`](super::StoreError::NotFound); [`Conflict`](super::StoreError::Conflict) if no
    /// admin would be left.
    async fn remove_user(&self, name: &UserName) -> Result<()>;

    /// Stores a session until `ends`.
    ///
    /// Errors: [`NotFound`](super::StoreError::NotFound) (the user).
    async fn open_session(&self, secret: &SecretHash, user: &UserName, ends: Steady, now: Now) -> Result<()>;

    /// After a start: limits every session to `latest`, whatever the clock did when it was opened.
    async fn clamp_sessions(&self, latest: Steady) -> Result<()>;

    /// Ends a session; an unknown one counts as ended.
    async fn end_session(&self, secret: &SecretHash) -> Result<()>;

    /// Stores a token. The record's `last_used_at` is ignored.
    ///
    /// Errors: [`Conflict`](super::StoreError::Conflict) if the name belongs to a token or a user.
    async fn add_token(&self, secret: &SecretHash, token: &TokenRecord) -> Result<()>;

    /// Records the use of a token, to the hour; an unknown one was revoked meanwhile.
    async fn touch_token(&self, id: &str, now: Now) -> Result<()>;

    /// Revokes a token.
    ///
    /// Errors: [`NotFound`](super::StoreError::NotFound).
    async fn revoke_token(&self, id: &str) -> Result<()>;
}
