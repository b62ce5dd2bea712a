//! API tokens and module tokens: issuing and revoking.
//!
//! These functions need only a store, so a command line can use them while the hub runs.

use iotpi_core::{ModuleId, Timestamp, model::id::UserName};
use serde::{Deserialize, Serialize};

use crate::{
    auth::{RevocationList, Role, SECURITY, Secret},
    error::{HubError, Result},
    store::{Store, StoreError, TokenRecord},
};

/// The prefix of every token. Secret scanners recognize it, and it distinguishes a token from a JWT.
pub const PREFIX: &str = "iotpi_";

/// The body of `POST /api/auth/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// The unique name of the token, such as its purpose.
    pub name: UserName,
    /// The role of the token.
    pub role: Role,
    /// The module of a token with the role `module`; not allowed for other roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<ModuleId>,
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenInfo {
    /// The id of the token.
    #[schema(format = "uuid")]
    pub id: String,
    /// The name of the token.
    pub name: UserName,
    /// The role of the token.
    pub role: Role,
    /// The module of a token with the role `module`.
    pub module_id: Option<ModuleId>,
    /// When the token was created.
    pub created_at: Timestamp,
    /// When the token was last used, to the hour.
    pub last_used_at: Option<Timestamp>,
}

/// A new token with its secret, which is shown only once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IssuedToken {
    /// The token without its secret.
    #[serde(flatten)]
    pub info: TokenInfo,
    /// The secret to send as `Authorization: Bearer`.
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

/// Issues a token and stores its hash. For programs that open the store themselves, such as a command line.
/// The hub uses [`Hub::issue_token`](crate::Hub::issue_token), which checks the caller.
///
/// # Errors
/// `Unprocessable` if a `module` token has no module or another role has one; `Conflict` if the name is taken.
///
/// # Cancel safety
/// The token is stored or not. If the call is cancelled, its secret is lost.
pub async fn issue(store: &dyn Store, new: NewToken, now: Timestamp) -> Result<IssuedToken> {
    match (new.role, &new.module_id) {
        (Role::Module, None) => {
            return Err(HubError::unprocessable("A `module` token requires a `module_id`.").at("/module_id"));
        }
        (Role::Module, Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            return Err(
                HubError::unprocessable("Only a `module` token can have a `module_id`.").at("/module_id")
            );
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
        module = record.module_id.as_ref().map(ModuleId::as_str), "a token was issued"
    );
    Ok(IssuedToken { info: record.into(), token: secret.0 })
}

/// Revokes a token. It stays revoked if a backup that contains it is restored later.
///
/// # Errors
/// `NotFound`, and the errors of the store.
///
/// # Cancel safety
/// The token is revoked or not. If the call is cancelled, restoring a backup may make it valid again.
pub async fn revoke(store: &dyn Store, id: &str) -> Result<()> {
    match store.revoke_token(id).await {
        Err(StoreError::NotFound(_)) => return Err(HubError::not_found("There is no token with this id.")),
        other => other?,
    }
    RevocationList::for_store(store).append(&[id.to_owned()]);
    tracing::info!(target: SECURITY, id, "a token was revoked");
    Ok(())
}
