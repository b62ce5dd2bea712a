//! Users: adding and removing them, and setting passwords and roles.
//!
//! These functions need only a store, so a command line can use them while the hub runs, or when no user can
//! log in. The hub reads the user of a session with every request, so a change takes effect at once, and
//! within 2 s on open connections.

use iotpi_core::{Timestamp, model::id::UserName};

use crate::{
    auth::{Passwords, Role, SECURITY},
    error::{HubError, Result},
    store::{Now, Steady, Store, UserRecord},
};

/// A user to add.
#[derive(Debug)]
pub struct NewUser {
    /// The unique name to log in with.
    pub name: UserName,
    /// The role; [`Role::Module`] is not allowed.
    pub role: Role,
    /// The password, 8 to 256 characters.
    pub password: String,
}

/// Adds a user and stores the hash of the password.
///
/// # Errors
/// `InvalidArgument` (the password's length), `Unprocessable` (the role `module`), `Conflict` (the name is taken), and the errors of the store.
///
/// # Cancel safety
/// The user is added or not.
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
/// `InvalidArgument` (the password's length), `NotFound`, and the errors of the store.
///
/// # Cancel safety
/// The password is replaced or not.
pub async fn set_password(store: &dyn Store, name: &UserName, password: String) -> Result<()> {
    let password_hash = Passwords::default().hash(password).await?;
    store.set_password(name, &password_hash).await?;
    tracing::info!(target: SECURITY, user = %name, "a password was replaced, and the sessions of the user ended");
    Ok(())
}

/// Changes the role of a user, which takes effect with their next request.
///
/// # Errors
/// `Unprocessable` (the role `module`), `NotFound`, `Conflict` (no admin would be left), and the errors of the store.
///
/// # Cancel safety
/// The role is changed or not.
pub async fn set_role(store: &dyn Store, name: &UserName, role: Role) -> Result<()> {
    check_role(role)?;
    store.set_role(name, role).await?;
    tracing::info!(target: SECURITY, user = %name, role = role.as_str(), "a user's role was changed");
    Ok(())
}

/// Removes a user and ends their sessions.
///
/// # Errors
/// `NotFound`, `Conflict` (no admin would be left), and the errors of the store.
///
/// # Cancel safety
/// The user is removed or not.
pub async fn remove(store: &dyn Store, name: &UserName) -> Result<()> {
    store.remove_user(name).await?;
    tracing::info!(target: SECURITY, user = %name, "a user was removed");
    Ok(())
}

/// Rejects the role `module`, which only tokens can have.
fn check_role(role: Role) -> Result<()> {
    match role {
        Role::Viewer | Role::Operator | Role::Admin => Ok(()),
        Role::Module => {
            Err(HubError::unprocessable("The role of a user is viewer, operator or admin.").at("/role"))
        }
    }
}
