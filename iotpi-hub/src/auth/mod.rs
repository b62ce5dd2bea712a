//! Who is calling, and what they may.

use serde::{Deserialize, Serialize};

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
