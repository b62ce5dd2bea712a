//! The one-time code that authorizes the creation of the first admin.

use std::sync::Mutex;

use crate::{auth::secret, error::Result, lock::lock, store::SecretHash};

/// Letters and digits that are not easily confused (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Keeps the hash of the current code, in memory only. A restart generates a new code.
#[derive(Debug, Default)]
pub(crate) struct FirstAdminCode {
    code: Mutex<Option<SecretHash>>,
}

impl FirstAdminCode {
    /// Generates a code of 60 bits, `XXXX-XXXX-XXXX`. The previous code becomes invalid.
    pub(crate) fn generate(&self) -> Result<String> {
        let random = secret::random()?;
        let mut code = String::with_capacity(14);
        for (i, byte) in random.iter().take(12).enumerate() {
            if i > 0 && i % 4 == 0 {
                code.push('-');
            }
            code.push(char::from(ALPHABET[usize::from(byte % 32)]));
        }
        *lock(&self.code) = Some(hash_of(&code));
        Ok(code)
    }

    /// Whether this is the current code, ignoring case and separators.
    pub(crate) fn matches(&self, code: &str) -> bool {
        // Comparing two SHA-256 hashes reveals nothing about the code by its timing.
        lock(&self.code).is_some_and(|hash| hash == hash_of(code))
    }

    /// Makes the current code invalid.
    pub(crate) fn invalidate(&self) {
        *lock(&self.code) = None;
    }
}

fn hash_of(code: &str) -> SecretHash {
    let letters: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    secret::hash(&letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_until_it_is_used_or_replaced() {
        let codes = FirstAdminCode::default();
        assert!(!codes.matches(""));

        let old = codes.generate().unwrap();
        let code = codes.generate().unwrap();

        assert!(!codes.matches(&old));
        assert!(codes.matches(&code));
        assert!(codes.matches(&code.to_lowercase().replace('-', " ")));
        codes.invalidate();
        assert!(!codes.matches(&code));
    }
}
