//! API tokens and module tokens: made, found, revoked.
//!
//! Works on a store alone, so that a command line can make a token while the hub runs.

use iotpi_core::{ModuleId, Timestamp, UserName};
use serde::{Deserialize, Serialize};

use crate::{
    auth::{RevocationList, Role, SECURITY, Secret},
    error::{HubError, Result},
    store::{Store, StoreError, TokenRecord},
};

/// Every token begins so: a secret scanner knows it, and a JWT is not mistaken for one.
pub const PREFIX: &str = "iotpi_";

/// The body of `POST /api/auth/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for; no two tokens have the same.
    pub name: UserName,
    /// What it may.
    pub role: Role,
    /// The one module a `module` token speaks for; not for other roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<ModuleId>,
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenInfo {
    /// Names it.
    #[schema(format = "uuid")]
    pub id: String,
    /// What it is for.
    pub name: UserName,
    /// What it may.
    pub role: Role,
    /// The one module a `module` token speaks for.
    pub module_id: Option<ModuleId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the hour.
    pub last_used_at: Option<Timestamp>,
}

/// A token just made, with its secret: shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IssuedToken {
    /// The token.
    #[serde(flatten)]
    pub info: TokenInfo,
    /// What to send as `Authorization: Bearer`.
    #[schema(pattern = "^iotpi_[0-9a-f]{64}$")]
    pub token: String,
}

impl From<TokenRecord> for TokenInfo {
    fn from(record: TokenRecord) -> Self {
        Self {
            id: record.id,
            name: record.name,
            role: record.role,
            module_id: record.module_id,
            created_at: record.created_at,
            last_used_at: record.last_used_at,
        }
    }
}

/// Makes a token and keeps its hash. For programs that hold the store itself, such as a command line; over HTTP it is
/// [`Hub::issue_token`](crate::Hub::issue_token), which asks who calls.
///
/// # Errors
/// `Unprocessable` when a `module` token has no module or another role has one; `Conflict` when the name is taken.
///
/// # Cancel safety
/// The token is kept or not; cancelled, nobody knows its secret.
pub async fn issue(store: &dyn Store, new: NewToken, now: Timestamp) -> Result<IssuedToken> {
    match (new.role, &new.module_id) {
        (Role::Module, None) => {
            return Err(HubError::unprocessable("a `module` token needs the `module_id` it speaks for")
                .at("/module_id"));
        }
        (Role::Module, Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            return Err(HubError::unprocessable("only a `module` token has a `module_id`").at("/module_id"));
        }
    }
    let secret = Secret::new(PREFIX)?;
    let record = TokenRecord {
        id: uuid::Uuid::now_v7().to_string(),
        name: new.name,
        role: new.role,
        module_id: new.module_id,
        created_at: now,
        last_used_at: None,
    };
    store.add_token(&secret.hash(), &record).await?;
    tracing::info!(
        target: SECURITY, token = %record.name, id = record.id, role = record.role.as_str(),
        module = record.module_id.as_ref().map(ModuleId::as_str), "a token was made"
    );
    Ok(IssuedToken { info: record.into(), token: secret.0 })
}

/// Revokes a token, also for databases that are restored later from a backup in which it is still there.
///
/// # Errors
/// `NotFound`, the store's.
///
/// # Cancel safety
/// Revoked or not. Cancelled, it may come back with a backup.
pub async fn revoke(store: &dyn Store, id: &str) -> Result<()> {
    match store.revoke_token(id).await {
        Err(StoreError::NotFound(_)) => return Err(HubError::not_found("There is no token with this id.")),
        other => other?,
    }
    RevocationList::for_store(store).append(&[id.to_owned()]);
    tracing::info!(target: SECURITY, id, "a token was revoked");
    Ok(())
}
