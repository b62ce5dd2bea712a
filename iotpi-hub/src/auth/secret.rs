//! Secrets of 256 random bits, of which the hub stores the SHA-256 hash only.
//!
//! A fast hash is enough, because 256 random bits cannot be guessed. For passwords see `password.rs`.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::{
    error::{HubError, Result},
    store::SecretHash,
};

/// The text of a secret. The owner receives it once; the hub does not keep it.
pub(crate) struct Secret(pub(crate) String);

impl Secret {
    /// Generates a secret whose text begins with `prefix`.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        let mut text = prefix.to_owned();
        for byte in random()? {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// The hash to store.
    pub(crate) fn hash(&self) -> SecretHash {
        hash(&self.0)
    }
}

/// The hash to store of a secret.
pub(crate) fn hash(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// 256 random bits from the operating system.
pub(crate) fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        HubError::internal("the operating system provided no random numbers").caused_by(error)
    })?;
    Ok(bytes)
}
