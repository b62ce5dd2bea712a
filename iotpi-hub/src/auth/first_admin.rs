//! The one-time code with which the first admin is made.

use std::sync::Mutex;

use crate::{auth::secret, error::Result, lock::lock, store::SecretHash};

/// Letters and digits nobody mistakes for one another (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Keeps the hash of the present code, in memory only: a restart makes a new one.
#[derive(Debug, Default)]
pub(crate) struct FirstAdmin {
    code: Mutex<Option<SecretHash>>,
}

impl FirstAdmin {
    /// A fresh code of 60 bits, `XXXX-XXXX-XXXX`; the one before no longer works.
    pub(crate) fn new_code(&self) -> Result<String> {
        let random = secret::random()?;
        let mut code = String::with_capacity(14);
        for (i, byte) in random.iter().take(12).enumerate() {
            if i > 0 && i % 4 == 0 {
                code.push('-');
            }
            code.push(char::from(ALPHABET[usize::from(byte % 32)]));
        }
        *lock(&self.code) = Some(of(&code));
        Ok(code)
    }

    /// Whether it is the present code, however it is spelt.
    pub(crate) fn is(&self, code: &str) -> bool {
        // Two SHA-256 are compared: the time it takes tells nothing about the code.
        lock(&self.code).is_some_and(|kept| kept == of(code))
    }

    /// The code has done its work.
    pub(crate) fn used(&self) {
        *lock(&self.code) = None;
    }
}

fn of(code: &str) -> SecretHash {
    let letters: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    secret::hash(&letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_until_it_is_used_or_replaced() {
        let first_admin = FirstAdmin::default();
        assert!(!first_admin.is(""));

        let old = first_admin.new_code().unwrap();
        let code = first_admin.new_code().unwrap();

        assert!(!first_admin.is(&old));
        assert!(first_admin.is(&code));
        assert!(first_admin.is(&code.to_lowercase().replace('-', " ")));
        first_admin.used();
        assert!(!first_admin.is(&code));
    }
}
