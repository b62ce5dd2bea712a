//! The role of a user or token.

use serde::{Deserialize, Serialize};

/// The permissions of a caller. The first three include each other; `module` is separate.
///
/// ```
/// use iotpi_core::model::role::Role;
///
/// assert_eq!(serde_json::to_value(Role::Operator)?, Role::Operator.as_str());
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May read.
    Viewer,
    /// May also send commands and deliver readings and frames.
    Operator,
    /// May also register and remove modules and create tokens.
    Admin,
    /// May deliver, claim commands and report as one module id, and nothing else.
    Module,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Module];

    /// The name of the role on the wire.
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
