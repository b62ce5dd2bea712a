//! The one who calls, and the questions a room asks about them.

use iotpi_core::{ModuleId, UserName};
use serde::{Deserialize, Serialize};

use crate::{
    auth::Role,
    error::{HubError, Result},
};

/// The one who calls. Every write takes one and asks what it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who showed a session, a token or a JWT.
    Known(Identity),
    /// Nobody known, from a network of `auth.anonymous_ingest`: may deliver readings, gaps, frames and status.
    Anonymous,
}

/// A known caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Identity {
    /// The person's or the token's name.
    pub name: UserName,
    /// What they may.
    pub role: Role,
    /// The one module a `module` caller speaks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<ModuleId>,
    /// Which session, token or JWT was shown; names it without being its secret, and stays in the hub.
    #[serde(skip)]
    pub issuer: Option<String>,
}

impl Caller {
    /// A known caller.
    #[must_use]
    pub fn known(name: UserName, role: Role, module_id: Option<ModuleId>) -> Self {
        Self::Known(Identity { name, role, module_id, issuer: None })
    }

    /// The same, with what it showed.
    #[must_use]
    pub(crate) fn with_issuer(mut self, issuer: String) -> Self {
        if let Self::Known(identity) = &mut self {
            identity.issuer = Some(issuer);
        }
        self
    }

    /// The same, without a session or token of its own.
    #[must_use]
    pub(crate) fn without_issuer(mut self) -> Self {
        if let Self::Known(identity) = &mut self {
            identity.issuer = None;
        }
        self
    }

    /// Whether it is the same person, program or module with the same rights, whatever it showed.
    pub(crate) fn has_same_rights(&self, other: &Self) -> bool {
        let rights =
            |caller: &Self| caller.identity().map(|who| (who.name.clone(), who.role, who.module_id.clone()));
        rights(self) == rights(other)
    }

    /// Which session, token or JWT was shown, if one was.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.identity()?.issuer.as_deref()
    }

    /// Who it is, if it is known.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Known(identity) => Some(identity),
            Self::Anonymous => None,
        }
    }

    /// The module it is, if it is one.
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

    /// May read everything: a viewer or more.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn may_read(&self) -> Result<()> {
        match self.role()? {
            Role::Viewer | Role::Operator | Role::Admin => Ok(()),
            Role::Module => Err(HubError::permission_denied(
                "a module token reads its own module and series only; name them with `module_id`",
            )),
        }
    }

    /// May read what belongs to that module: a viewer or more, or the module itself.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn may_read_of(&self, module_id: Option<&ModuleId>) -> Result<()> {
        match self.module_id() {
            Some(own) if Some(own) == module_id => Ok(()),
            _ => self.may_read(),
        }
    }

    /// May send commands: an operator or more.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn may_command(&self) -> Result<()> {
        match self.role()? {
            Role::Operator | Role::Admin => Ok(()),
            role => Err(denied(role, "operator")),
        }
    }

    /// May administer: an admin.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn may_administer(&self) -> Result<()> {
        match self.role()? {
            Role::Admin => Ok(()),
            role => Err(denied(role, "admin")),
        }
    }

    /// May deliver in that module's name: an operator or more, the module itself, or an anonymous network.
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

    /// May register that module: an admin or the module itself.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn may_register(&self, module_id: &ModuleId) -> Result<()> {
        match self.role()? {
            Role::Module => self.is_module(module_id),
            _ => self.may_administer(),
        }
    }

    /// Is that module.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`.
    pub fn is_module(&self, module_id: &ModuleId) -> Result<()> {
        match (self.role()?, self.module_id()) {
            (Role::Module, Some(own)) if own == module_id => Ok(()),
            (Role::Module, Some(own)) => Err(HubError::permission_denied(format!(
                "this token speaks for module `{own}`, not for `{module_id}`"
            ))),
            _ => Err(HubError::permission_denied(format!("only module `{module_id}` itself may do this"))),
        }
    }
}

fn denied(role: Role, needed: &str) -> HubError {
    HubError::permission_denied(format!("This needs the role `{needed}`. Your role is `{}`.", role.as_str()))
}

#[cfg(test)]
mod tests {
    use iotpi_core::ErrorKind;

    use super::*;

    fn of(role: Role) -> Caller {
        let module_id = (role == Role::Module).then(|| ModuleId::new("led").unwrap());
        Caller::known(UserName::new("anna").unwrap(), role, module_id)
    }

    #[test]
    fn each_role_may_what_the_reference_says() {
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
