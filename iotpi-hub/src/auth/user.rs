//! People who log in: added, given a password or a role, removed.
//!
//! Works on a store alone, so that a command line can do it while the hub runs, or when nobody can log in any more. The hub
//! reads a session's user with every request: it honours each change at once, and within 2 s on open connections.

use iotpi_core::{Timestamp, UserName};

use crate::{
    auth::{Passwords, Role, SECURITY},
    error::{HubError, Result},
    store::{Now, Steady, Store, UserRecord},
};

/// Who is to be added.
#[derive(Debug)]
pub struct NewUser {
    /// The name to log in with; no two users have the same.
    pub name: UserName,
    /// What they may: not [`Role::Module`].
    pub role: Role,
    /// 8 to 256 characters.
    pub password: String,
}

/// Adds a user and keeps the hash of the password.
///
/// # Errors
/// `InvalidArgument` (the password's length), `Unprocessable` (the role `module`), `Conflict` (the name is taken), the store's.
///
/// # Cancel safety
/// Added or not.
pub async fn add(store: &dyn Store, new: NewUser, now: Timestamp) -> Result<()> {
    check_role(new.role)?;
    let password_hash = Passwords::default().hash(new.password).await?;
    let user = UserRecord { name: new.name, role: new.role, password_hash };
    store.add_user(&user, Now { wall: now, steady: Steady(now) }).await?;
    tracing::info!(target: SECURITY, user = %user.name, role = user.role.as_str(), "a user was added");
    Ok(())
}

/// Replaces a user's password and ends their sessions.
///
/// # Errors
/// `InvalidArgument` (the password's length), `NotFound`, the store's.
///
/// # Cancel safety
/// Replaced or not.
pub async fn set_password(store: &dyn Store, name: &UserName, password: String) -> Result<()> {
    let password_hash = Passwords::default().hash(password).await?;
    store.set_password(name, &password_hash).await?;
    tracing::info!(target: SECURITY, user = %name, "a password was replaced, and the user's sessions ended");
    Ok(())
}

/// Changes a user's role; it counts from their next request.
///
/// # Errors
/// `Unprocessable` (the role `module`), `NotFound`, `Conflict` (no admin would be left), the store's.
///
/// # Cancel safety
/// Changed or not.
pub async fn set_role(store: &dyn Store, name: &UserName, role: Role) -> Result<()> {
    check_role(role)?;
    store.set_role(name, role).await?;
    tracing::info!(target: SECURITY, user = %name, role = role.as_str(), "a user's role was changed");
    Ok(())
}

/// Removes a user and ends their sessions.
///
/// # Errors
/// `NotFound`, `Conflict` (no admin would be left), the store's.
///
/// # Cancel safety
/// Removed or not.
pub async fn remove(store: &dyn Store, name: &UserName) -> Result<()> {
    store.remove_user(name).await?;
    tracing::info!(target: SECURITY, user = %name, "a user was removed");
    Ok(())
}

/// A token of that role speaks for a module; people are no modules.
fn check_role(role: Role) -> Result<()> {
    match role {
        Role::Viewer | Role::Operator | Role::Admin => Ok(()),
        Role::Module => Err(HubError::unprocessable("a user is viewer, operator or admin").at("/role")),
    }
}
