//! Callers and permission checks.

use iotpi_core::{ModuleId, model::id::UserName};
use serde::{Deserialize, Serialize};

use crate::{
    auth::Role,
    error::{HubError, Result},
};

/// The caller of an operation. Every write takes a caller and checks its permissions.
///
/// It is an axum extractor for routes of the program with the [`Hub`](crate::Hub) in their state. It
/// identifies callers as the routes of the hub do, by session, token, JWT or
/// [`Authenticated`](super::Authenticated), and answers a request without any of them with a problem document
/// of status 401. A response that takes long does not end with the session or token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A caller authenticated by a session, token, JWT or signed URL.
    Known(Identity),
    /// An unauthenticated caller from a network in `auth.anonymous_ingest`. It may deliver readings, gaps,
    /// frames and status.
    Anonymous,
}

/// The identity of an authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Identity {
    /// The name of the user or token.
    pub name: UserName,
    /// The role, which defines the permissions.
    pub role: Role,
    /// The module that a caller with the role `module` acts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<ModuleId>,
    /// An id of the session, token or JWT. It is not the secret, and is never sent.
    #[serde(skip)]
    pub issuer: Option<String>,
}

impl Caller {
    /// Creates an authenticated caller.
    #[must_use]
    pub fn known(name: UserName, role: Role, module_id: Option<ModuleId>) -> Self {
        Self::Known(Identity { name, role, module_id, issuer: None })
    }

    /// Sets the id of the session, token or JWT.
    #[must_use]
    pub(crate) fn with_issuer(mut self, issuer: String) -> Self {
        if let Self::Known(identity) = &mut self {
            identity.issuer = Some(issuer);
        }
        self
    }

    /// Removes the id of the session or token.
    #[must_use]
    pub(crate) fn without_issuer(mut self) -> Self {
        if let Self::Known(identity) = &mut self {
            identity.issuer = None;
        }
        self
    }

    /// Whether both have the same name, role and module, with any credential.
    pub(crate) fn has_same_rights(&self, other: &Self) -> bool {
        let rights =
            |caller: &Self| caller.identity().map(|id| (id.name.clone(), id.role, id.module_id.clone()));
        rights(self) == rights(other)
    }

    /// The id of the session, token or JWT, if there is one.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.identity()?.issuer.as_deref()
    }

    /// The identity, unless the caller is anonymous.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Known(identity) => Some(identity),
            Self::Anonymous => None,
        }
    }

    /// The module id of a caller with the role `module`.
    #[must_use]
    pub fn module_id(&self) -> Option<&ModuleId> {
        self.identity().filter(|i| i.role == Role::Module)?.module_id.as_ref()
    }

    fn role(&self) -> Result<Role> {
        self.identity().map(|i| i.role).ok_or_else(|| {
            HubError::unauthenticated(
                "Authentication is required. Log in or send `Authorization: Bearer TOKEN`.",
            )
        })
    }

    /// Checks that the caller may read everything: viewer, operator or admin.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn may_read(&self) -> Result<()> {
        match self.role()? {
            Role::Viewer | Role::Operator | Role::Admin => Ok(()),
            Role::Module => Err(HubError::permission_denied(
                "A module token can read its own module and series only. Set `module_id`.",
            )),
        }
    }

    /// Checks that the caller may read data of that module: viewer, operator, admin or the module itself.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn may_read_of(&self, module_id: Option<&ModuleId>) -> Result<()> {
        match self.module_id() {
            Some(own) if Some(own) == module_id => Ok(()),
            _ => self.may_read(),
        }
    }

    /// Checks that the caller may send commands: operator or admin.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn may_command(&self) -> Result<()> {
        match self.role()? {
            Role::Operator | Role::Admin => Ok(()),
            role => Err(denied(role, "operator")),
        }
    }

    /// Checks that the caller is an admin.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn may_administer(&self) -> Result<()> {
        match self.role()? {
            Role::Admin => Ok(()),
            role => Err(denied(role, "admin")),
        }
    }

    /// Checks that the caller may deliver for that module: operator, admin, the module itself or an anonymous
    /// caller.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub fn may_deliver_as(&self, module_id: &ModuleId) -> Result<()> {
        let Self::Known(identity) = self else { return Ok(()) };
        match identity.role {
            Role::Operator | Role::Admin => Ok(()),
            Role::Module => self.is_module(module_id),
            role @ Role::Viewer => Err(denied(role, "operator")),
        }
    }

    /// Checks that the caller may register that module: admin or the module itself.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn may_register(&self, module_id: &ModuleId) -> Result<()> {
        match self.role()? {
            Role::Module => self.is_module(module_id),
            _ => self.may_administer(),
        }
    }

    /// Checks that the caller is that module.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn is_module(&self, module_id: &ModuleId) -> Result<()> {
        match (self.role()?, self.module_id()) {
            (Role::Module, Some(own)) if own == module_id => Ok(()),
            (Role::Module, Some(own)) => Err(HubError::permission_denied(format!(
                "This token belongs to module `{own}`, not to `{module_id}`."
            ))),
            _ => Err(HubError::permission_denied(format!("Only module `{module_id}` itself may do this."))),
        }
    }
}

fn denied(role: Role, needed: &str) -> HubError {
    HubError::permission_denied(format!("This needs the role `{needed}`. Your role is `{}`.", role.as_str()))
}

#[cfg(test)]
mod tests {
    use iotpi_core::model::error::ErrorKind;

    use super::*;

    fn of(role: Role) -> Caller {
        let module_id = (role == Role::Module).then(|| ModuleId::new("led").unwrap());
        Caller::known(UserName::new("anna").unwrap(), role, module_id)
    }

    #[test]
    fn each_role_has_the_permissions_of_the_reference() {
        let led = ModuleId::new("led").unwrap();
        let other = ModuleId::new("other").unwrap();
        let may = |caller: &Caller| {
            [
                caller.may_read().is_ok(),
                caller.may_read_of(Some(&led)).is_ok(),
                caller.may_read_of(None).is_ok(),
                caller.may_command().is_ok(),
                caller.may_administer().is_ok(),
                caller.may_deliver_as(&led).is_ok(),
                caller.may_deliver_as(&other).is_ok(),
                caller.may_register(&led).is_ok(),
                caller.is_module(&led).is_ok(),
                caller.is_module(&other).is_ok(),
            ]
            .map(u8::from)
        };

        assert_eq!(may(&of(Role::Viewer)), [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(may(&of(Role::Operator)), [1, 1, 1, 1, 0, 1, 1, 0, 0, 0]);
        assert_eq!(may(&of(Role::Admin)), [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
        assert_eq!(may(&of(Role::Module)), [0, 1, 0, 0, 0, 1, 0, 1, 1, 0]);
        assert_eq!(may(&Caller::Anonymous), [0, 0, 0, 0, 0, 1, 1, 0, 0, 0]);
        assert_eq!(Caller::Anonymous.may_read().unwrap_err().kind(), ErrorKind::Unauthenticated);
    }
}
