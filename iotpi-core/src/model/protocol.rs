//! The version of the protocol between programs and a hub. `docs/ref/compatibility.md` says what a version
//! promises.

use serde::{Deserialize, Serialize};

/// The version of the protocol that a program or a hub uses. Versions that differ are only logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1))]
#[serde(transparent)]
pub struct ProtocolVersion(u32);

impl ProtocolVersion {
    /// The first version, which a message without one has.
    ///
    /// ```
    /// use iotpi_core::{Manifest, model::protocol::ProtocolVersion};
    ///
    /// assert_eq!(Manifest::new().protocol, ProtocolVersion::CURRENT);
    /// assert_eq!(serde_json::from_str::<Manifest>("{}")?.protocol, ProtocolVersion::FIRST);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub const FIRST: Self = Self(1);
    /// The version of this library.
    pub const CURRENT: Self = Self(1);

    /// The version as a number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn first() -> Self {
        Self::FIRST
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    pub(crate) fn is_first(&self) -> bool {
        *self == Self::FIRST
    }
}

/// The version of this library.
impl Default for ProtocolVersion {
    fn default() -> Self {
        Self::CURRENT
    }
}

impl std::fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
