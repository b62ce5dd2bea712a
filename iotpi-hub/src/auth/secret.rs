//! Secrets: 256 random bits as text, of which only the SHA-256 is kept.
//!
//! A fast hash is enough here: nobody guesses 256 bits. Passwords are another matter, see `password.rs`.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::{
    error::{HubError, Result},
    store::SecretHash,
};

/// A secret's text; shown to its owner once and then forgotten.
pub(crate) struct Secret(pub(crate) String);

impl Secret {
    /// A fresh one, its text led by `prefix`.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        let mut text = prefix.to_owned();
        for byte in random()? {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> SecretHash {
        hash(&self.0)
    }
}

/// What is kept of a secret.
pub(crate) fn hash(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Random bits of the operating system.
pub(crate) fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| HubError::internal("the machine gave no random numbers").caused_by(error))?;
    Ok(bytes)
}
