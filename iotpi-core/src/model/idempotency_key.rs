//! Keys that identify a request, so that it can be repeated.

use std::{fmt, str::FromStr};

/// The maximum length of an [`IdempotencyKey`] in characters.
pub const MAX_IDEMPOTENCY_KEY_LEN: usize = 64;

/// An idempotency key: 1 to 64 visible ASCII characters. The hub runs requests of one caller with the same key
/// once. Draw a new one, for instance a UUID, for each command.
///
/// ```
/// use iotpi_core::model::command::IdempotencyKey;
///
/// let key: IdempotencyKey = "0196f2f4-7d5e".parse()?;
/// assert!(IdempotencyKey::new("two words").is_err());
/// # Ok::<(), iotpi_core::model::command::InvalidIdempotencyKey>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// Checks a key.
    ///
    /// # Errors
    /// [`InvalidIdempotencyKey`] if it is empty, too long, or has a space or a character outside ASCII.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidIdempotencyKey> {
        let text = text.into();
        let valid = (1..=MAX_IDEMPOTENCY_KEY_LEN).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if valid { Ok(Self(text.into())) } else { Err(InvalidIdempotencyKey(())) }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        Self::new(text)
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A text is not an [`IdempotencyKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {MAX_IDEMPOTENCY_KEY_LEN} visible ASCII characters")]
pub struct InvalidIdempotencyKey(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_64_visible_ascii_characters() {
        for text in ["k", "a/b:c", &"x".repeat(64)] {
            assert_eq!(IdempotencyKey::new(text).map(|key| key.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "a b", "ä", "a\n", &"x".repeat(65)] {
            assert!(IdempotencyKey::new(text).is_err(), "{text:?}");
        }
    }
}
