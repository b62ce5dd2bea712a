//! The one-time code with which the first admin is made.

use std::sync::Mutex;

use crate::{auth::secret, error::Result, lock::lock, store::SecretHash};

/// Letters and digits nobody mistakes for one another (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Keeps the hash of the present code, in memory only: a restart makes a new one.
#[derive(Debug, Default)]
pub(crate) struct FirstAdminCode {
    code: Mutex<Option<SecretHash>>,
}

impl FirstAdminCode {
    /// A fresh code of 60 bits, `XXXX-XXXX-XXXX`; the one before no longer works.
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

    /// Whether it is the present code, however it is spelt.
    pub(crate) fn matches(&self, code: &str) -> bool {
        // Two SHA-256 are compared: the time it takes tells nothing about the code.
        lock(&self.code).is_some_and(|kept| kept == hash_of(code))
    }

    /// The code has done its work.
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
